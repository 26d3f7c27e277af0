import os

import numpy as np
import pytest
from scipy import sparse

from app.training.params import AlsParams
from app.training.ranking.als import AlsFactors, fit_als


@pytest.fixture(scope="module")
def strengths() -> sparse.csr_array:
    random = np.random.default_rng(1)
    dense = random.random((70, 40), np.float32) * (random.random((70, 40)) < 0.2)
    dense[3] = 0  # a user without anything
    return sparse.csr_array(dense.astype(np.float32))


def plain_als(weights: sparse.csr_array, params: AlsParams, items: np.ndarray) -> AlsFactors:
    """The same model by the book: one dense system a row, in double precision."""
    confidence = 1 + params.alpha * weights.toarray().astype(float)
    liked = weights.toarray() > 0

    def solve(others: np.ndarray, conf: np.ndarray, want: np.ndarray) -> np.ndarray:
        rows = np.zeros((len(conf), params.factors))
        for row, (c, p) in enumerate(zip(conf, want, strict=True)):
            if p.any():
                penalty = params.regularization * p.sum() ** params.exponent
                system = (others.T * c) @ others + penalty * np.eye(params.factors)
                rows[row] = np.linalg.solve(system, others.T @ (c * p))
        return rows

    for _ in range(params.iterations):
        users = solve(items, confidence, liked)
        items = solve(users, confidence.T, liked.T)
    return AlsFactors(users, items)


@pytest.mark.parametrize("exponent", [0.0, 0.5, 1.0])
def test_it_solves_the_weighted_least_squares(strengths: sparse.csr_array, exponent: float) -> None:
    params = AlsParams(factors=5, iterations=3, alpha=3, regularization=0.2, exponent=exponent)
    ours = fit_als(strengths, params, seed=2)
    random = np.random.default_rng(2)
    random.standard_normal((70, 5), dtype=np.float32)  # the users' start, which is not used
    start = random.standard_normal((40, 5), dtype=np.float32) / 5
    book = plain_als(strengths, params, start.astype(float))
    np.testing.assert_allclose(ours.users @ ours.items.T, book.users @ book.items.T, atol=1e-3)


def test_the_number_of_threads_changes_nothing(
    strengths: sparse.csr_array, monkeypatch: pytest.MonkeyPatch
) -> None:
    params = AlsParams(factors=8, iterations=3)
    several = fit_als(strengths, params, seed=5)
    monkeypatch.setattr(os, "cpu_count", lambda: 1)
    one = fit_als(strengths, params, seed=5)
    assert one.users.tobytes() == several.users.tobytes()
    assert one.items.tobytes() == several.items.tobytes()


def test_a_user_without_anything_has_no_factors(strengths: sparse.csr_array) -> None:
    assert not fit_als(strengths, AlsParams(factors=3), seed=0).users[3].any()


def test_it_counts_its_iterations(strengths: sparse.csr_array) -> None:
    done: list[None] = []
    fit_als(strengths, AlsParams(factors=3, iterations=7), 0, lambda: done.append(None))
    assert len(done) == 7
