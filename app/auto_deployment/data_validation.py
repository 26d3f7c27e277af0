"""Is what was collected fit to learn from? Schema by pandera, batch against what came before."""

import hashlib
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pandera.polars as pa
import polars as pl
from pandera.errors import SchemaErrors

from app.auto_deployment import drift
from app.auto_deployment.errors import DeploymentError
from app.auto_deployment.thresholds import Checks
from app.ingest.data_window import Cycle
from app.ingest.errors import IngestError
from app.ingest.metadata_files import METADATA_FILES
from app.ingest.schemas import KEY, TIMESTAMP
from app.ingest.training_tables import read_ratings, read_watches
from app.model.artifact import sha256

_RATINGS, _WATCHES = "ratings.parquet", "watches.parquet"


@dataclass(frozen=True)
class Data:
    """The prepared tables, and all their events in one: user_id, movie_id, time."""

    ratings: pl.DataFrame
    watches: pl.DataFrame
    events: pl.DataFrame


def read_data(tables: Path) -> Data:
    """Read the tables that `marquee prepare` wrote.

    Raises:
        DeploymentError: one is missing, or has not the columns that it must have.
    """
    try:
        ratings = read_ratings(tables / _RATINGS)
        watches = read_watches(tables / _WATCHES)
    except IngestError as error:
        raise DeploymentError(str(error)) from error
    columns = [*KEY, "time"]
    events = pl.concat([ratings.select(columns), watches.rename({"last_time": "time"})[columns]])
    return Data(ratings, watches, events)


def check_data(
    tables: Path, prepared: dict[str, Any], cycle: Cycle, checks: Checks, scale: tuple[float, float]
) -> dict[str, Any]:
    """Judge the tables; what is found stands in `reports/data.json`.

    Args:
        tables: what `marquee prepare` wrote.
        prepared: what it said of it.
        cycle: which events are the batch.
        checks: thresholds.
        scale: lowest and highest rating.

    `refused` are the batch's own faults: it stays out from now on. `held` are reasons to make no
    version now that a later batch may mend.
    """
    data = read_data(tables)
    held = _shape(data, scale) + _missing(data, checks)
    refused, batch = ([], None) if cycle.before is None else _batch(data, cycle, checks)
    damaged = _damaged_share(data, prepared)
    if damaged > checks.damaged:
        held.append(f"{damaged:.1%} of lines have a damaged movie id (limit {checks.damaged:.1%})")
    if batch and batch["few"]:
        held.append(batch["few"])
    if cycle.accepted:
        held, refused = [], []
    return {
        "passed": not (held or refused),
        "refused": refused,
        "held": held,
        "ratings": data.ratings.height,
        "watches": data.watches.height,
        "users": data.events["user_id"].n_unique(),
        "movies": data.events["movie_id"].n_unique(),
        "newest": _moment(data.events["time"].max()),
        "damaged_share": damaged,
        "sha256": _hash(tables),
        "batch": batch,
    }


def _schemas(scale: tuple[float, float]) -> dict[str, pa.DataFrameSchema]:
    key = {
        "user_id": pa.Column(pl.Int64, pa.Check.ge(0)),
        "movie_id": pa.Column(pl.String, pa.Check.str_matches(r"^[^\s,]{1,200}$")),
    }
    rating = pa.Column(pl.Float32, pa.Check.in_range(*scale))
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


def _shape(data: Data, scale: tuple[float, float]) -> list[str]:
    """Columns, types, ranges, missing values and duplicates."""
    found = []
    for name, schema in _schemas(scale).items():
        try:
            schema.validate(getattr(data, name), lazy=True)
        except SchemaErrors as error:
            for row in error.failure_cases.select("column", "check").unique().sort("check").rows():
                found.append(f"{name}: {row[0] or 'rows'}: {row[1]}")
    if data.events.is_empty():
        found.append("there is no event at all")
    return found


def _missing(data: Data, checks: Checks) -> list[str]:
    share = data.events["time"].null_count() / max(1, data.events.height)
    if share <= checks.without_time:
        return []
    return [f"{share:.1%} of events have no time (limit {checks.without_time:.1%})"]


def _damaged_share(data: Data, prepared: dict[str, Any]) -> float:
    """Damaged movie ids by line, as damage comes: a movie watched is a line a minute.

    A damaged line makes an event of its own, so by event the share would grow with movies' lengths.
    """
    dropped = prepared.get("dropped", 0)
    lines = data.watches["minutes"].sum() + data.ratings.height + dropped
    return float((prepared.get("repaired", 0) + dropped) / max(1, lines))


def _batch(data: Data, cycle: Cycle, checks: Checks) -> tuple[list[str], dict[str, Any]]:
    """The batch's faults, and its figures."""
    new = (pl.col("time") > cycle.before).fill_null(value=False)
    batch, before = data.events.filter(new), data.events.filter(~new)
    ratings_psi = drift.ratings_psi(
        data.ratings.filter(~new)["rating"], data.ratings.filter(new)["rating"], checks.psi_events
    )
    popularity_psi = drift.popularity_psi(before["movie_id"], batch["movie_id"], checks.psi_events)
    volume = drift.volume(before["time"], batch["time"], cycle.before, checks.spans)
    found, few = [], None
    for name, psi, limit in (
        ("ratings", ratings_psi, checks.ratings_psi),
        ("popularity", popularity_psi, checks.popularity_psi),
    ):
        if psi is not None and psi > limit:
            found.append(f"the distribution of {name} has drifted: PSI {psi:.2f} (limit {limit:g})")
    if volume is not None and volume > checks.most:
        found.append(f"{volume:.1f} times as many events as before (limit {checks.most:g})")
    if volume is not None and volume < checks.fewest:
        few = f"{volume:.2f} times as many events as before (limit {checks.fewest:g})"
    return found, {
        "after": _moment(cycle.before),
        "until": _moment(batch["time"].max()),
        "events": batch.height,
        "ratings": int(data.ratings.select(new.sum()).item()),
        "ratings_psi": ratings_psi,
        "popularity_psi": popularity_psi,
        "volume": volume,
        "few": few,
    }


def _hash(tables: Path) -> str:
    """One hash for all that is learned from."""
    digest = hashlib.sha256()
    for name in (_RATINGS, _WATCHES, *METADATA_FILES):
        if (tables / name).exists():
            digest.update(f"{name} {sha256(tables / name)}\n".encode())
    return digest.hexdigest()


def _moment(value: Any) -> str | None:
    return None if value is None else value.isoformat()
