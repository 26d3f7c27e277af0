"""Metrics of the prepared tables: schema errors, missing times, damaged ids, drift of the batch.

Nothing is decided here; `retraining_policy` compares these metrics with the limits.
"""

import hashlib
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import Any

import numpy as np
import pandera.polars as pa
import polars as pl
from numpy.typing import NDArray
from pandera.errors import SchemaErrors

from app.auto_deployment.errors import DeploymentError
from app.ingest.errors import IngestError
from app.ingest.metadata_files import METADATA_FILES
from app.ingest.schemas import KEY, TIMESTAMP
from app.ingest.training_tables import read_ratings, read_watches
from app.model.artifact import sha256

_RATINGS, _WATCHES = "ratings.parquet", "watches.parquet"
#: Groups of movies with about equal shares of the earlier events, for the PSI of popularity.
_POPULARITY_GROUPS = 10


@dataclass(frozen=True)
class BatchMetrics:
    """The batch, which is every event later than `after`, beside the earlier events.

    Attributes:
        after: newest event of the previous version, as an ISO 8601 time.
        until: newest event of the batch; None without events.
        events: number of events.
        ratings: number of ratings.
        ratings_psi: PSI of the ratings; None with too few to compare.
        popularity_psi: PSI of the movies' popularity; None with too few events to compare.
        volume_ratio: events by the mean of earlier periods of equal length; None without one.
    """

    after: str
    until: str | None
    events: int
    ratings: int
    ratings_psi: float | None
    popularity_psi: float | None
    volume_ratio: float | None


@dataclass(frozen=True)
class DataMetrics:
    """What was measured in the prepared tables.

    Attributes:
        schema_errors: columns, types, ranges, missing values and duplicates that are wrong.
        ratings: number of ratings.
        watches: number of watches.
        users: number of users.
        movies: number of movies.
        newest: time of the newest event, ISO 8601.
        without_time_ratio: share of events without a time.
        damaged_ratio: share of lines with a damaged movie id, repaired or dropped.
        tables_hash: SHA-256 of the table files; it changes when they change in any byte. (The
            manifest's `data_hash` identifies the events themselves, however they are stored.)
        batch: the events since the previous version; None where it is not known.
    """

    schema_errors: list[str]
    ratings: int
    watches: int
    users: int
    movies: int
    newest: str | None
    without_time_ratio: float
    damaged_ratio: float
    tables_hash: str
    batch: BatchMetrics | None


@dataclass(frozen=True)
class _Tables:
    """The prepared tables, and all their events in one: user_id, movie_id, time."""

    ratings: pl.DataFrame
    watches: pl.DataFrame
    events: pl.DataFrame


def measure_data(
    tables: Path,
    prepare_summary: dict[str, Any],
    rating_scale: tuple[float, float],
    batch_after: datetime | None,
    *,
    min_psi_events: int,
    volume_periods: int,
) -> DataMetrics:
    """Measure the tables that `marquee prepare` wrote.

    Args:
        tables: their directory.
        prepare_summary: what `marquee prepare --json` printed.
        rating_scale: lowest and highest rating.
        batch_after: newest event of the previous version; later events are the batch.
        min_psi_events: with fewer events on either side no PSI is computed.
        volume_periods: number of earlier periods, at most, that the batch's volume is compared to.

    Raises:
        DeploymentError: a table is missing or lacks a column.
    """
    data = _read_tables(tables)
    batch = (
        None
        if batch_after is None
        else _measure_batch(data, batch_after, min_psi_events, volume_periods)
    )
    return DataMetrics(
        schema_errors=_find_schema_errors(data, rating_scale),
        ratings=data.ratings.height,
        watches=data.watches.height,
        users=data.events["user_id"].n_unique(),
        movies=data.events["movie_id"].n_unique(),
        newest=_format_time(data.events["time"].max()),
        without_time_ratio=data.events["time"].null_count() / max(1, data.events.height),
        damaged_ratio=_damaged_ratio(data, prepare_summary),
        tables_hash=_hash_tables(tables),
        batch=batch,
    )


def _read_tables(tables: Path) -> _Tables:
    try:
        ratings = read_ratings(tables / _RATINGS)
        watches = read_watches(tables / _WATCHES)
    except IngestError as error:
        raise DeploymentError(str(error)) from error
    columns = [*KEY, "time"]
    events = pl.concat([ratings.select(columns), watches.rename({"last_time": "time"})[columns]])
    return _Tables(ratings, watches, events)


def _schemas(rating_scale: tuple[float, float]) -> dict[str, pa.DataFrameSchema]:
    key = {
        "user_id": pa.Column(pl.Int64, pa.Check.ge(0)),
        "movie_id": pa.Column(pl.String, pa.Check.str_matches(r"^[^\s,]{1,200}$")),
    }
    rating = pa.Column(pl.Float32, pa.Check.in_range(*rating_scale))
    minutes = pa.Column(pl.UInt16, pa.Check.ge(1))
    times = {name: pa.Column(TIMESTAMP) for name in ("first_time", "last_time")}
    return {
        "ratings": pa.DataFrameSchema(
            {**key, "rating": rating, "time": pa.Column(TIMESTAMP, nullable=True)},
            unique=KEY,
            strict=True,
        ),
        "watches": pa.DataFrameSchema(
            {**key, "minutes": minutes, **times}, unique=KEY, strict=True
        ),
    }


def _find_schema_errors(data: _Tables, rating_scale: tuple[float, float]) -> list[str]:
    errors = []
    for name, schema in _schemas(rating_scale).items():
        try:
            schema.validate(getattr(data, name), lazy=True)
        except SchemaErrors as error:
            for row in error.failure_cases.select("column", "check").unique().sort("check").rows():
                errors.append(f"{name}: {row[0] or 'rows'}: {row[1]}")
    if data.events.is_empty():
        errors.append("there are no events")
    return errors


def _damaged_ratio(data: _Tables, prepare_summary: dict[str, Any]) -> float:
    """Share of log lines with a damaged movie id; a watch is one line a minute.

    By event the share would grow with the lengths of movies: each damaged line makes an event of
    its own, each sound watch many lines.
    """
    dropped = prepare_summary.get("dropped", 0)
    lines = data.watches["minutes"].sum() + data.ratings.height + dropped
    return float((prepare_summary.get("repaired", 0) + dropped) / max(1, lines))


def _measure_batch(
    data: _Tables, after: datetime, min_psi_events: int, volume_periods: int
) -> BatchMetrics:
    is_new = (pl.col("time") > after).fill_null(value=False)
    batch, earlier = data.events.filter(is_new), data.events.filter(~is_new)
    ratings, earlier_ratings = data.ratings.filter(is_new), data.ratings.filter(~is_new)
    return BatchMetrics(
        after=after.isoformat(),
        until=_format_time(batch["time"].max()),
        events=batch.height,
        ratings=ratings.height,
        ratings_psi=ratings_psi(earlier_ratings["rating"], ratings["rating"], min_psi_events),
        popularity_psi=popularity_psi(earlier["movie_id"], batch["movie_id"], min_psi_events),
        volume_ratio=volume_ratio(earlier["time"], batch["time"], after, volume_periods),
    )


def ratings_psi(earlier: pl.Series, batch: pl.Series, min_events: int) -> float | None:
    """PSI of ratings, rounded to integers; None with fewer than `min_events` on either side."""
    if min(len(earlier), len(batch)) < min_events:
        return None
    values = np.union1d(earlier.round().to_numpy(), batch.round().to_numpy())
    counts = [
        np.array([np.count_nonzero(side.round().to_numpy() == value) for value in values])
        for side in (earlier, batch)
    ]
    return psi(*counts)


def popularity_psi(earlier: pl.Series, batch: pl.Series, min_events: int) -> float | None:
    """PSI of events over ten groups of movies by popularity, and one group of new movies.

    Each group has about a tenth of the earlier events. None with fewer than `min_events` events on
    either side.
    """
    if min(len(earlier), len(batch)) < min_events:
        return None
    movies = earlier.value_counts(sort=True)
    more_popular = movies["count"].cum_sum() - movies["count"]
    group = (more_popular * _POPULARITY_GROUPS // len(earlier)).alias("group")
    groups = movies.with_columns(group)
    joined = batch.to_frame().join(groups, on=earlier.name, how="left")
    found = joined["group"].fill_null(_POPULARITY_GROUPS)
    known = groups.group_by("group").agg(pl.col("count").sum())
    counts = np.zeros((2, _POPULARITY_GROUPS + 1))
    counts[0, known["group"].to_numpy()] = known["count"].to_numpy()
    counts[1] = np.bincount(found.to_numpy(), minlength=_POPULARITY_GROUPS + 1)
    return psi(counts[0], counts[1])


def psi(expected: NDArray[np.number], actual: NDArray[np.number]) -> float:
    """Population stability index of two counts over the same bins.

    Half an event is added to each bin, so that empty bins have a logarithm.
    """
    p = (expected + 0.5) / (expected + 0.5).sum()
    q = (actual + 0.5) / (actual + 0.5).sum()
    return float(((q - p) * np.log(q / p)).sum())


def volume_ratio(
    earlier: pl.Series, batch: pl.Series, after: datetime, max_periods: int
) -> float | None:
    """The batch's number of events, divided by the mean of earlier periods of the same length.

    Args:
        earlier: times of earlier events.
        batch: times of the batch's events.
        after: where the batch begins.
        max_periods: number of periods before `after`, at most.

    Returns:
        None where no such period lies wholly within the earlier events, or the batch is empty.
    """
    first, last = earlier.min(), batch.max()
    if not isinstance(first, datetime) or not isinstance(last, datetime):
        return None
    length = last - after
    periods = min(max_periods, int((after - first) / length)) if length else 0
    if periods < 1:
        return None
    recent = int((earlier > after - periods * length).sum())
    return len(batch) * periods / recent if recent else None


def _hash_tables(tables: Path) -> str:
    """One SHA-256 for all table files that training reads."""
    digest = hashlib.sha256()
    for name in (_RATINGS, _WATCHES, *METADATA_FILES):
        if (tables / name).exists():
            digest.update(f"{name} {sha256(tables / name)}\n".encode())
    return digest.hexdigest()


def _format_time(value: Any) -> str | None:
    return None if value is None else value.isoformat()
