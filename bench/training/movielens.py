"""MovieLens ml-latest-small, and the splits that the quality benchmark tests on."""

import os
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import polars as pl

from app.training.interactions import Interactions, encode_interactions
from app.training.tuning.splits import (
    Split,
    global_temporal_split,
    per_user_temporal_split,
    random_split,
)

ROOT = Path(__file__).parents[2]
SCALE = (0.5, 5.0)
#: Shares held out by the temporal splits.
SHARES = (0.35, 0.3, 0.25, 0.2, 0.15)


def find_ratings() -> Path:
    """Return the path of the ratings, whether they exist or not."""
    shared = os.environ.get("MARQUEE_SHARED_DATA", ROOT.parent / "shared" / "data")
    return Path(shared) / "ml-latest-small" / "ratings.csv"


def read_ratings(path: Path) -> Interactions:
    """Read all ratings."""
    table = pl.read_csv(path).select(
        user_id="userId",
        movie_id=pl.col("movieId").cast(pl.String),
        rating=pl.col("rating").cast(pl.Float32),
        time=pl.from_epoch("timestamp").cast(pl.Datetime("us")),
    )
    return encode_interactions(table, None)


@dataclass(frozen=True)
class Method:
    """A splitting method: the splits to test on, and how to hold out validation data of each.

    Attributes:
        tests: splits of all data.
        split_training: splits the training part of a test for the search.
        search_each: whether each test has a search of its own. In time the training part of the
            first test holds no event of any test, so that one search serves all.
    """

    tests: list[Split | None]
    split_training: Callable[[Interactions], Split | None]
    search_each: bool


def make_methods(events: Interactions, quick: bool) -> dict[str, Method]:
    """Return the three methods by name; `quick`: with one split each."""
    runs = 1 if quick else len(SHARES)
    shares = SHARES[:runs]
    return {
        "random": Method(
            [random_split(events, seed) for seed in range(runs)],
            lambda train: random_split(train, 100),
            search_each=True,
        ),
        "per_user_temporal": Method(
            [per_user_temporal_split(events, share) for share in shares],
            per_user_temporal_split,
            search_each=False,
        ),
        "global_temporal": Method(
            [global_temporal_split(events, share) for share in shares],
            global_temporal_split,
            search_each=False,
        ),
    }
