import importlib.metadata
import inspect

import numpy as np
import pytest
from implicit.cpu import _als
from scipy import sparse

from app.training.ranking.least_squares import solve_rows

EXPLANATION = f"""
implicit {importlib.metadata.version("implicit")} changed the private function
`implicit.cpu._als._least_squares`, which app/training/ranking/least_squares.py calls. Compare its
source with that of 0.7.3, adapt `solve_rows`, and compare nDCG and speed by the benches
`bench.training.quality --quick` and `bench.training.scale --quick`. Without such a function,
`implicit.als.AlternatingLeastSquares` is the alternative: it has one regularisation for all rows.
"""


def test_the_private_function_exists() -> None:
    assert callable(getattr(_als, "_least_squares", None)), EXPLANATION
    signature = inspect.signature(_als._least_squares)
    assert "num_threads" in signature.parameters, EXPLANATION


def test_rows_are_solved_as_by_the_normal_equations() -> None:
    random = np.random.default_rng(6)
    weights = sparse.random_array((9, 20), density=0.4, rng=random, dtype=np.float32).tocsr()
    weights.data += 1
    others = random.standard_normal((20, 5)).astype(np.float32)
    solved = np.empty((9, 5), np.float32)
    matrix = (weights.indptr.astype(np.int32), weights.indices.astype(np.int32), weights.data)
    try:
        solve_rows(others.T @ others, matrix, others, 0.7, solved)
    except (TypeError, ValueError) as error:
        pytest.fail(f"{error}\n{EXPLANATION}")
    dense = weights.toarray().astype(float)
    for row, weight in zip(solved, dense, strict=True):
        # Weight 1 of what is not in the matrix, with a target of 0; target 1 of what is.
        system = (others.T * np.where(weight > 0, weight, 1)) @ others + 0.7 * np.eye(5)
        expected = np.linalg.solve(system, others.T @ weight)
        np.testing.assert_allclose(row, expected, rtol=1e-3, atol=1e-5, err_msg=EXPLANATION)
