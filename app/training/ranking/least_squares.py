"""The compiled least-squares step of `implicit`, a private function of that library.

The public model of `implicit` has one regularisation for all rows. Called once for each group of
rows with equally many events, `_als._least_squares` fits ALS-WR instead, which ranks better
(nDCG@10 0.372 against 0.328 on ml-latest-small, 64 factors), in compiled code and without the
interpreter's lock. tests/unit/training/test_least_squares.py fails with an explanation when a new
version of `implicit` changes the function.
"""

import numpy as np
from implicit.cpu import _als
from numpy.typing import NDArray

Floats = NDArray[np.float32]


def solve_rows(
    gram: Floats,
    confidence: tuple[NDArray[np.int32], NDArray[np.int32], Floats],
    others: Floats,
    regularization: float,
    solved: Floats,
) -> None:
    """Compute the factors of `R` rows that fit the factors of the other side best.

    Args:
        gram: [F, F] `others.T @ others`.
        confidence: index pointers [R + 1], indices and data of a sparse matrix [R, M].
        others: [M, F] factors of the other side.
        regularization: added to the diagonal of each row's system.
        solved: [R, F] array to be filled.
    """
    pointers, indices, data = confidence
    _als._least_squares(
        gram, pointers, indices, data, solved, others, regularization, num_threads=1
    )
