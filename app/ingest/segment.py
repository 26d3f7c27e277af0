"""Segment files: Parquet, one row group for each bucket of users, in the buckets' order."""

from collections.abc import Iterable
from datetime import datetime
from pathlib import Path

import polars as pl
import pyarrow as pa
import pyarrow.parquet as pq

from app.atomic_files import fsync
from app.ingest.errors import EventsError
from app.ingest.schemas import Schema


def split_buckets(rows: pl.DataFrame, buckets: int) -> list[pl.DataFrame]:
    """Rows by bucket, in their order; a bucket without rows is an empty frame.

    The remainder serves as the hash: user ids are given out in sequence, and the rule must be
    the same in every version of every library.
    """
    numbered = rows.with_columns(bucket=pl.col("user_id") % buckets)
    found = numbered.partition_by("bucket", include_key=False, as_dict=True)
    return [found.get((bucket,), rows.clear()) for bucket in range(buckets)]


def write_segment(path: Path, schema: Schema, buckets: Iterable[pl.DataFrame]) -> int:
    """Write one frame per bucket as a row group each, durably; returns the number of rows."""
    rows = 0
    with pq.ParquetWriter(path, as_arrow(pl.DataFrame(schema=schema)).schema) as writer:
        for frame in buckets:
            rows += frame.height
            writer.write_table(as_arrow(frame), row_group_size=max(1, frame.height))
    fsync(path)
    return rows


def open_segment(path: Path) -> pq.ParquetFile:
    """Open a segment. The open file stays readable when a writer replaces it.

    Raises:
        FileNotFoundError: it is not there (any more).
        EventsError: it is damaged.
    """
    try:
        return pq.ParquetFile(path)
    except FileNotFoundError:
        raise
    except (pa.ArrowInvalid, OSError) as error:
        raise EventsError(f"{path} is damaged: {error}") from error


def read_bucket(file: pq.ParquetFile, bucket: int, columns: list[str]) -> pl.DataFrame:
    """The named columns of one bucket.

    Raises:
        EventsError: the file is damaged there.
    """
    try:
        table = file.read_row_group(bucket, columns=columns, use_threads=False)
    except (pa.ArrowInvalid, OSError) as error:
        raise EventsError(f"a file of the store is damaged: {error}") from error
    frame = pl.from_arrow(table)
    assert isinstance(frame, pl.DataFrame)  # noqa: S101 - a table makes a frame
    return frame.select(columns)


def time_range(file: pq.ParquetFile, bucket: int, column: str) -> tuple[datetime, datetime] | None:
    """The oldest and the newest time in a bucket; None where it has none."""
    place = file.schema_arrow.names.index(column)
    # Columns of lists count once here as they do in the file: each has one leaf.
    statistics = file.metadata.row_group(bucket).column(place).statistics
    if statistics is None or not statistics.has_min_max:
        return None
    return statistics.min, statistics.max


def as_arrow(frame: pl.DataFrame) -> pa.Table:
    """A frame in types that every Parquet reader knows."""
    return frame.to_arrow(compat_level=pl.CompatLevel.oldest())
