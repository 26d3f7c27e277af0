"""The rating predictor: Surprise's SVD, fitted without Surprise's own training set in memory."""

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any, TypeVar

import numpy as np
from numpy.typing import NDArray
from surprise import SVD, Trainset

from app.model.artifact import Array
from app.training.interactions import Interactions
from app.training.params import SvdParams

_CHUNK = 100_000
_Float = TypeVar("_Float", bound=np.floating[Any])


@dataclass(frozen=True)
class SvdModel:
    """SVD's parameters for all users and movies; 0 where a user or movie has no rating.

    The estimate is `mean + user_bias + movie_bias + users @ movies`, as in Surprise: an
    unknown user or movie adds 0.

    Attributes:
        mean: mean of all ratings.
        user_bias: [U] float64.
        movie_bias: [N] float64.
        users: [U, F] float32.
        movies: [N, F] float32.
    """

    mean: float
    user_bias: NDArray[np.float64]
    movie_bias: NDArray[np.float64]
    users: NDArray[np.float32]
    movies: NDArray[np.float32]

    def to_arrays(self) -> dict[str, Array]:
        """Return the parameters by their names in the factors artifact."""
        return {
            "svd_mean": np.array([self.mean]),
            "svd_user_bias": self.user_bias,
            "svd_movie_bias": self.movie_bias,
            "svd_users": self.users,
            "svd_movies": self.movies,
        }

    @classmethod
    def from_arrays(cls, arrays: dict[str, Array]) -> "SvdModel":
        """Return the model whose parameters `to_arrays` returned."""
        return cls(
            mean=float(arrays["svd_mean"][0]),
            user_bias=arrays["svd_user_bias"],
            movie_bias=arrays["svd_movie_bias"],
            users=arrays["svd_users"],
            movies=arrays["svd_movies"],
        )

    def estimate(
        self, user: NDArray[np.integer[Any]], movie: NDArray[np.integer[Any]]
    ) -> NDArray[np.float64]:
        """Estimate the ratings [E] of pairs, not clipped to the scale; -1: unknown number."""
        total = np.full(len(user), self.mean)
        total += np.where(user >= 0, self.user_bias[user], 0)
        total += np.where(movie >= 0, self.movie_bias[movie], 0)
        both = np.flatnonzero((user >= 0) & (movie >= 0))
        for rows in np.array_split(both, max(1, len(both) // _CHUNK)):
            products = self.users[user[rows]].astype(np.float64) * self.movies[movie[rows]]
            total[rows] += products.sum(axis=1)
        return total


def fit_svd(
    events: Interactions, params: SvdParams, scale: tuple[float, float], seed: int
) -> SvdModel | None:
    """Fit Surprise's SVD to all ratings; None without ratings."""
    rated = np.isfinite(events.rating)
    if not rated.any():
        return None
    users, user = np.unique(events.user[rated], return_inverse=True)
    movies, movie = np.unique(events.movie[rated], return_inverse=True)
    algorithm = SVD(
        n_factors=params.factors,
        n_epochs=params.epochs,
        lr_all=params.learning_rate,
        reg_all=params.regularization,
        random_state=seed,
    )
    algorithm.fit(ArrayTrainset(user, movie, events.rating[rated], scale))
    return SvdModel(
        mean=float(algorithm.trainset.global_mean),
        user_bias=_scatter(algorithm.bu, users, len(events.users)),
        movie_bias=_scatter(algorithm.bi, movies, len(events.movies)),
        users=_scatter(algorithm.pu.astype(np.float32), users, len(events.users)),
        movies=_scatter(algorithm.qi.astype(np.float32), movies, len(events.movies)),
    )


def _scatter(values: NDArray[_Float], rows: NDArray[np.integer[Any]], size: int) -> NDArray[_Float]:
    scattered = np.zeros((size, *values.shape[1:]), values.dtype)
    scattered[rows] = values
    return scattered


class ArrayTrainset(Trainset):  # type: ignore[misc] # Surprise has no types
    """A Surprise training set over arrays: 16 bytes a rating; Surprise's own takes about 150.

    Args:
        user: [R] user numbers, ascending, each of 0 to the largest present.
        movie: [R] movie numbers, each of 0 to the largest present.
        rating: [R] ratings.
        scale: lowest and highest rating.
    """

    def __init__(
        self,
        user: NDArray[np.intp],
        movie: NDArray[np.intp],
        rating: NDArray[np.float32],
        scale: tuple[float, float],
    ) -> None:
        users, movies = int(user.max()) + 1, int(movie.max()) + 1
        # Surprise only tests membership in the first two arguments.
        super().__init__(range(users), range(movies), users, movies, len(rating), scale, {}, {})
        self._arrays = user, movie, rating

    def all_ratings(self) -> Iterator[tuple[int, int, float]]:
        """Yield all ratings as (user number, movie number, rating), by user."""
        for begin in range(0, self.n_ratings, _CHUNK):
            yield from zip(
                *(array[begin : begin + _CHUNK].tolist() for array in self._arrays), strict=True
            )

    @property
    def global_mean(self) -> float:
        """The mean of all ratings."""
        return float(self._arrays[2].mean(dtype=np.float64))
