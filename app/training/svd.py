"""The rating predictor: Surprise's SVD, without the cost of Surprise's own training set."""

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any, TypeVar

import numpy as np
from numpy.typing import NDArray
from surprise import SVD, Trainset

from app.model.artifact import Array
from app.training.interactions import Interactions
from app.training.params import RatingParams

_CHUNK = 100_000
_Float = TypeVar("_Float", bound=np.floating[Any])


@dataclass(frozen=True)
class RatingModel:
    """SVD's parameters for all users and movies; 0 where a user or movie has no rating.

    The estimate is `mean + user_bias + item_bias + users @ items`, as Surprise's: what is
    unknown adds 0.

    Attributes:
        mean: mean of all ratings.
        user_bias: [U] float64.
        item_bias: [N] float64.
        users: [U, F] float32.
        items: [N, F] float32.
    """

    mean: float
    user_bias: NDArray[np.float64]
    item_bias: NDArray[np.float64]
    users: NDArray[np.float32]
    items: NDArray[np.float32]

    def to_arrays(self) -> dict[str, Array]:
        """The parameters under the names they have in the factors artifact."""
        return {
            "svd_mean": np.array([self.mean]),
            "svd_user_bias": self.user_bias,
            "svd_item_bias": self.item_bias,
            "svd_users": self.users,
            "svd_items": self.items,
        }

    @classmethod
    def from_arrays(cls, arrays: dict[str, Array]) -> "RatingModel":
        """The model that `to_arrays` gave."""
        return cls(
            mean=float(arrays["svd_mean"][0]),
            user_bias=arrays["svd_user_bias"],
            item_bias=arrays["svd_item_bias"],
            users=arrays["svd_users"],
            items=arrays["svd_items"],
        )

    def estimate(
        self, user: NDArray[np.integer[Any]], item: NDArray[np.integer[Any]]
    ) -> NDArray[np.float64]:
        """Estimates [E] for pairs, not clipped to the scale; -1 is an unknown user or movie."""
        total = np.full(len(user), self.mean)
        total += np.where(user >= 0, self.user_bias[user], 0)
        total += np.where(item >= 0, self.item_bias[item], 0)
        both = np.flatnonzero((user >= 0) & (item >= 0))
        for rows in np.array_split(both, max(1, len(both) // _CHUNK)):
            products = self.users[user[rows]].astype(np.float64) * self.items[item[rows]]
            total[rows] += products.sum(axis=1)
        return total


def fit_ratings(
    events: Interactions, params: RatingParams, scale: tuple[float, float], seed: int
) -> RatingModel | None:
    """Fit Surprise's SVD to all ratings, None when there are none."""
    rated = np.isfinite(events.rating)
    if not rated.any():
        return None
    users, user = np.unique(events.user[rated], return_inverse=True)
    items, item = np.unique(events.item[rated], return_inverse=True)
    algorithm = SVD(
        n_factors=params.factors,
        n_epochs=params.epochs,
        lr_all=params.learning_rate,
        reg_all=params.regularization,
        random_state=seed,
    )
    algorithm.fit(ArrayTrainset(user, item, events.rating[rated], scale))
    return RatingModel(
        mean=float(algorithm.trainset.global_mean),
        user_bias=_spread(algorithm.bu, users, len(events.users)),
        item_bias=_spread(algorithm.bi, items, len(events.items)),
        users=_spread(algorithm.pu.astype(np.float32), users, len(events.users)),
        items=_spread(algorithm.qi.astype(np.float32), items, len(events.items)),
    )


def _spread(values: NDArray[_Float], rows: NDArray[np.integer[Any]], size: int) -> NDArray[_Float]:
    spread = np.zeros((size, *values.shape[1:]), values.dtype)
    spread[rows] = values
    return spread


class ArrayTrainset(Trainset):  # type: ignore[misc] # Surprise has no types
    """A Surprise training set over arrays: 16 bytes a rating, where its own takes about 150.

    Args:
        user: [R] user numbers, ascending, each of 0 to the largest present.
        item: [R] movie numbers, each of 0 to the largest present.
        rating: [R] ratings.
        scale: lowest and highest rating.
    """

    def __init__(
        self,
        user: NDArray[np.intp],
        item: NDArray[np.intp],
        rating: NDArray[np.float32],
        scale: tuple[float, float],
    ) -> None:
        users, items = int(user.max()) + 1, int(item.max()) + 1
        # Surprise asks only whether a number is "in" these.
        super().__init__(range(users), range(items), users, items, len(rating), scale, {}, {})
        self._arrays = user, item, rating

    def all_ratings(self) -> Iterator[tuple[int, int, float]]:
        """All ratings as (user number, movie number, rating), by user."""
        for begin in range(0, self.n_ratings, _CHUNK):
            yield from zip(
                *(array[begin : begin + _CHUNK].tolist() for array in self._arrays), strict=True
            )

    @property
    def global_mean(self) -> float:
        """Mean of all ratings."""
        return float(self._arrays[2].mean(dtype=np.float64))
