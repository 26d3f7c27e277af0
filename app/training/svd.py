"""The rating predictor: Surprise's SVD, fitted without Surprise's own training set in memory."""

from collections.abc import Callable, Iterator
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


@dataclass(frozen=True)
class Ratings:
    """What the SVD is fitted to: `R` ratings by user, of `U` users and `N` movies.

    Attributes:
        users: number of users, with or without ratings.
        movies: number of movies, with or without ratings.
        user: [R] int32 user numbers, ascending.
        movie: [R] int32 movie numbers.
        rating: [R] float32.
    """

    users: int
    movies: int
    user: NDArray[np.int32]
    movie: NDArray[np.int32]
    rating: NDArray[np.float32]


def select_ratings(events: Interactions, params: SvdParams, seed: int) -> Ratings:
    """Return all ratings, or `max_ratings` of them drawn at random, each with the same chance."""
    rated = np.flatnonzero(np.isfinite(events.rating))
    if len(rated) > params.max_ratings:
        random = np.random.default_rng(seed)
        chosen = random.choice(len(rated), params.max_ratings, replace=False, shuffle=False)
        rated = rated[np.sort(chosen)]
    return Ratings(
        users=len(events.users),
        movies=len(events.movies),
        user=events.find_users(rated),
        movie=events.movie[rated],
        rating=events.rating[rated],
    )


def fit_svd(
    events: Interactions, params: SvdParams, scale: tuple[float, float], seed: int
) -> SvdModel | None:
    """Fit Surprise's SVD to all ratings, or to a sample; None without ratings."""
    return fit_ratings(select_ratings(events, params, seed), params, scale, seed)


def fit_ratings(
    ratings: Ratings,
    params: SvdParams,
    scale: tuple[float, float],
    seed: int,
    advance: Callable[[], None] = lambda: None,
) -> SvdModel | None:
    """Fit Surprise's SVD to these ratings; None without any.

    Args:
        ratings: the ratings.
        params: parameters of the SVD.
        scale: lowest and highest rating.
        seed: seed of the initial factors.
        advance: called at the start of each epoch.
    """
    if not len(ratings.rating):
        return None
    users, user = _renumber(ratings.user, ratings.users)
    movies, movie = _renumber(ratings.movie, ratings.movies)
    algorithm = SVD(
        n_factors=params.factors,
        n_epochs=params.epochs,
        lr_all=params.learning_rate,
        reg_all=params.regularization,
        random_state=seed,
    )
    algorithm.fit(ArrayTrainset(user, movie, ratings.rating, scale, advance))
    return SvdModel(
        mean=float(algorithm.trainset.global_mean),
        user_bias=_scatter(algorithm.bu, users, ratings.users),
        movie_bias=_scatter(algorithm.bi, movies, ratings.movies),
        users=_scatter(algorithm.pu.astype(np.float32), users, ratings.users),
        movies=_scatter(algorithm.qi.astype(np.float32), movies, ratings.movies),
    )


def _renumber(numbers: NDArray[np.int32], size: int) -> tuple[NDArray[np.intp], NDArray[np.int32]]:
    """Return the different numbers, ascending, and the place of each number among them."""
    present = np.zeros(size, bool)
    present[numbers] = True
    places = np.cumsum(present, dtype=np.int32) - np.int32(1)
    return np.flatnonzero(present), places[numbers]


def _scatter(values: NDArray[_Float], rows: NDArray[np.integer[Any]], size: int) -> NDArray[_Float]:
    scattered = np.zeros((size, *values.shape[1:]), values.dtype)
    scattered[rows] = values
    return scattered


class ArrayTrainset(Trainset):  # type: ignore[misc] # Surprise has no types
    """A Surprise training set over lists: 24 bytes a rating; Surprise's own takes about 150.

    Surprise reads all ratings as Python objects in each epoch. There is one object for each user,
    movie and value of a rating, which is made once: making them in each epoch takes as much time as
    the arithmetic with 50 factors.

    Args:
        user: [R] user numbers, ascending, each of 0 to the largest present.
        movie: [R] movie numbers, each of 0 to the largest present.
        rating: [R] ratings.
        scale: lowest and highest rating.
        advance: called whenever all ratings are read.
    """

    def __init__(
        self,
        user: NDArray[np.int32],
        movie: NDArray[np.int32],
        rating: NDArray[np.float32],
        scale: tuple[float, float],
        advance: Callable[[], None] = lambda: None,
    ) -> None:
        users, movies = int(user.max()) + 1, int(movie.max()) + 1
        # Surprise only tests membership in the first two arguments.
        super().__init__(range(users), range(movies), users, movies, len(rating), scale, {}, {})
        values, place = np.unique(rating, return_inverse=True)
        self._advance = advance
        self._mean = float(rating.mean(dtype=np.float64))
        self._columns = (
            _share_objects(np.arange(users), user),
            _share_objects(np.arange(movies), movie),
            _share_objects(values, place),
        )

    def all_ratings(self) -> Iterator[tuple[int, int, float]]:
        """Return all ratings as (user number, movie number, rating), by user."""
        self._advance()
        return zip(*self._columns, strict=True)

    @property
    def global_mean(self) -> float:
        """The mean of all ratings."""
        return self._mean


def _share_objects(values: NDArray[Any], place: NDArray[np.integer[Any]]) -> list[Any]:
    """Return `values[place]` as a list in which equal places are the same object."""
    objects: NDArray[np.object_] = values.astype(object)
    shared: list[Any] = objects[place].tolist()
    return shared
