"""Stored rows to the rows of the tables: damaged movie ids repaired, hopeless ones left out."""

from collections.abc import Callable
from typing import NamedTuple

import polars as pl

from app.ingest import expressions
from app.ingest.id_repair import Repairs
from app.ingest.merge import merge_ratings, merge_watches
from app.ingest.schemas import RATINGS, WATCHES, conform


class Cleaned(NamedTuple):
    """How many stored rows had their movie id repaired, and how many have one beyond repair."""

    repaired: int
    left_out: int


def clean_watches(rows: pl.DataFrame, repairs: Repairs) -> tuple[pl.DataFrame, Cleaned]:
    """`STORED_WATCHES` to `WATCHES`, sorted by `KEY`."""
    kept, cleaned = _clean(rows, repairs, merge_watches)
    return conform(kept.with_columns(pl.col("minutes").list.len()), WATCHES), cleaned


def clean_ratings(rows: pl.DataFrame, repairs: Repairs) -> tuple[pl.DataFrame, Cleaned]:
    """`STORED_RATINGS` to `RATINGS`, sorted by `KEY`."""
    kept, cleaned = _clean(rows, repairs, merge_ratings)
    return conform(kept, RATINGS), cleaned


def _clean(
    rows: pl.DataFrame, repairs: Repairs, merge: Callable[[list[pl.DataFrame]], pl.DataFrame]
) -> tuple[pl.DataFrame, Cleaned]:
    movie = pl.col("movie_id")
    damaged = movie.is_in(list(repairs))
    repaired = rows.filter(damaged).with_columns(movie.replace(repairs))
    rest = rows.filter(~damaged)
    sound = rest.filter(expressions.is_movie_id(movie))
    cleaned = Cleaned(repaired.height, rest.height - sound.height)
    return (merge([sound, repaired]) if repaired.height else sound), cleaned
