"""The recommenders that are compared: this system, remedies, popularity, random lists, none."""

from dataclasses import dataclass
from pathlib import Path
from typing import Literal

import numpy as np
import polars as pl
from numpy.typing import NDArray

from app.training.fit import fit_models
from app.training.interactions import encode_interactions
from app.training.params import Params, read_params, replace_params
from app.training.ranking.popularity import compute_popularity, rank_by_popularity
from app.training.stages import Stages
from app.training.top_n import SeenMovies, fill_lists

ROOT = Path(__file__).parents[2]
SCALE = (1, 5)
#: Movies of an answer, and of a stored list.
LENGTH, DEPTH = 20, 50

Kind = Literal["personal", "popular", "random", "none"]


@dataclass(frozen=True)
class System:
    """One of the compared recommenders.

    Attributes:
        name: of its part and in the tables.
        kind: where its lists come from.
        own_weight: factor of the confidence of events that its own answers showed; 1: none.
        explored_places: places of each answer that are filled with movies drawn at random.
    """

    name: str
    kind: Kind
    own_weight: float = 1.0
    explored_places: int = 0


SYSTEMS = (
    System("marquee", "personal"),
    System("popularity", "popular"),
    System("random", "random"),
    System("none", "none"),
    System("less weight", "personal", own_weight=0.25),
    System("exploration", "personal", explored_places=2),
)


@dataclass(frozen=True)
class TrainedLists:
    """The lists of one retraining.

    Attributes:
        rows: user id -> row of `lists`.
        lists: [U, DEPTH] indices of the environment's movies, best first; -1 fills up a list.
        popular: indices of the most popular movies, best first.
    """

    rows: dict[int, int]
    lists: NDArray[np.int64]
    popular: list[int]

    def get(self, user: int) -> list[int]:
        """Return the list of a user; popular movies for an unknown one."""
        row = self.rows.get(user)
        if row is None:
            return self.popular
        return [movie for movie in self.lists[row].tolist() if movie >= 0]


def train_lists(system: System, watches: pl.DataFrame, index: dict[str, int]) -> TrainedLists:
    """Train a system as `marquee train` does.

    Args:
        system: which one; not `none` or `random`.
        watches: user_id, movie_id, minutes, last_time, and `shown`: whether an answer of the
            system showed the movie.
        index: movie id -> index of the environment's movie.
    """
    # Confidence grows with the logarithm of the minutes: fewer minutes are less weight.
    weighted = (1 + pl.col("minutes").cast(pl.Float64)) ** system.own_weight - 1
    minutes = pl.when("shown").then(weighted.round().clip(1)).otherwise(pl.col("minutes"))
    events = encode_interactions(None, watches.with_columns(minutes=minutes.cast(pl.UInt16)))
    params = _quick(read_params(ROOT / "params.yaml"))
    movies = np.array([index[name] for name in events.movies] + [-1])
    if system.kind == "popular":
        order = rank_by_popularity(compute_popularity(events, params.popularity))
        return TrainedLists({}, np.empty((0, DEPTH), np.int64), movies[order[:DEPTH]].tolist())
    models = fit_models(events, params, SCALE, Stages())
    lists = np.empty((len(events.users), DEPTH), np.int64)
    scorer = models.build_scorer(events, params)
    fill_lists(lists, scorer, SeenMovies(events.start, events.movie), params.lists.block_size)
    rows = {user: row for row, user in enumerate(events.users.tolist())}
    popular = movies[rank_by_popularity(models.popularity)[:DEPTH]].tolist()
    return TrainedLists(rows, movies[lists], popular)


def _quick(params: Params) -> Params:
    """The parameters of the product, smaller: the simulator's tastes have six factors."""
    return replace_params(
        params, {"popularity.half_life_days": 60.0, "als.factors": 16, "als.iterations": 5}
    )
