"""MovieLens, and the ways to test on it."""

import os
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import polars as pl

from app.training.interactions import Interactions, number_events
from app.training.tuning.splits import Split, moment_split, newest_split, random_split

ROOT = Path(__file__).parents[1]
SCALE = (0.5, 5.0)
#: Shares held out in time.
CUTS = (0.35, 0.3, 0.25, 0.2, 0.15)


def find_ratings() -> Path:
    """Where MovieLens is, or would be."""
    shared = os.environ.get("MARQUEE_SHARED_DATA", ROOT.parent / "shared" / "data")
    return Path(shared) / "ml-latest-small" / "ratings.csv"


def read(path: Path) -> Interactions:
    """All ratings."""
    table = pl.read_csv(path).select(
        user_id="userId",
        movie_id=pl.col("movieId").cast(pl.String),
        rating=pl.col("rating").cast(pl.Float32),
        time=pl.from_epoch("timestamp").cast(pl.Datetime("us")),
    )
    return number_events(table, None)


@dataclass(frozen=True)
class Way:
    """A way to test: its splits, and how to hold out of a training half once more.

    In time the training half of the earliest cut holds no event of any test, so that one search
    on it serves all cuts.
    """

    tests: list[Split | None]
    inner: Callable[[Interactions], Split | None]
    tune_each: bool


def ways(events: Interactions, quick: bool) -> dict[str, Way]:
    """The three ways; `quick` has one split of each."""
    runs = 1 if quick else len(CUTS)
    return {
        "random": Way(
            [random_split(events, seed) for seed in range(runs)],
            lambda train: random_split(train, 100),
            tune_each=True,
        ),
        "newest": Way([newest_split(events, c) for c in CUTS[:runs]], newest_split, False),
        "moment": Way([moment_split(events, c) for c in CUTS[:runs]], moment_split, False),
    }
