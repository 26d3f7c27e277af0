"""Read what users have watched from the event store."""

from collections.abc import Iterator
from datetime import UTC, datetime
from zoneinfo import ZoneInfo

import polars as pl

from app.ingest.metadata_files import METADATA_DIR, MOVIES_FILE
from app.ingest.schemas import TIMESTAMP
from app.ingest.store_reader import StoreSnapshot
from app.quality.answers import MovieNumbers
from app.quality.credit import WATCHED
from app.settings import Settings


def read_runtimes(settings: Settings) -> pl.DataFrame:
    """Read the lengths of movies in minutes from the store's metadata; none where there is none."""
    path = settings.store_dir / METADATA_DIR / MOVIES_FILE
    schema = {"movie_id": pl.String, "runtime_minutes": pl.Float32}
    if not path.is_file():
        return pl.DataFrame(schema=schema)
    rows = pl.read_parquet(path, columns=list(schema)).cast(schema)  # type: ignore[arg-type]
    return rows.filter(pl.col("runtime_minutes") > 0)


def read_watched(
    snapshot: StoreSnapshot,
    runtimes: pl.DataFrame,
    numbers: MovieNumbers,
    zone: str,
    start: datetime,
) -> Iterator[pl.DataFrame]:
    """Read bucket by bucket what was first watched since `start`.

    Args:
        snapshot: of the store.
        runtimes: of `read_runtimes`.
        numbers: of the movies; others are left out, because no answer holds them.
        zone: time zone of the log; empty: UTC.
        start: UTC without a zone.

    Yields:
        `WATCHED` of each bucket; all rows of a user are in one.
    """
    movies = pl.DataFrame(
        {"movie_id": list(numbers.ids), "movie": range(len(numbers.ids))},
        schema={"movie_id": pl.String, "movie": pl.Int32},
    ).join(runtimes, on="movie_id", how="left")
    for bucket in snapshot.buckets:
        rows = snapshot.read_watches(bucket).with_columns(time=_to_utc("first_time", zone))
        yield (
            rows.filter(pl.col("time") >= start)
            .join(movies, on="movie_id")
            .with_columns(minutes=pl.col("minutes").list.len(), runtime="runtime_minutes")
            .select(pl.col(name).cast(kind) for name, kind in WATCHED.items())
        )


def read_newest(snapshot: StoreSnapshot, zone: str) -> datetime | None:
    """The time of the newest watch in the store, in UTC without a zone; None without any."""
    ranges = (snapshot.read_time_range("watches", bucket) for bucket in snapshot.buckets)
    times = [found[1] for found in ranges if found]
    if not times:
        return None
    newest = max(times)
    return newest.replace(tzinfo=ZoneInfo(zone or "UTC")).astimezone(UTC).replace(tzinfo=None)


def _to_utc(column: str, zone: str) -> pl.Expr:
    """Local times of the log as UTC; of an hour that comes twice, the first one."""
    if not zone:
        return pl.col(column)
    local = pl.col(column).dt.replace_time_zone(zone, ambiguous="earliest", non_existent="null")
    return local.dt.convert_time_zone("UTC").dt.replace_time_zone(None).cast(TIMESTAMP)
