"""Segment files: Parquet with one row group per bucket of users, in the order of the buckets."""

from collections.abc import Iterable
from datetime import datetime
from pathlib import Path

import polars as pl
import pyarrow as pa
import pyarrow.parquet as pq

from app.atomic_files import fsync
from app.ingest.errors import IngestError
from app.ingest.schemas import Schema


def split_buckets(rows: pl.DataFrame, buckets: int) -> list[pl.DataFrame]:
    """Split rows into buckets by user, keeping their order; a bucket may be an empty frame.

    The bucket is `user_id % buckets`: user ids are assigned in sequence, so the remainder spreads
    them evenly, and unlike a library's hash it never changes.
    """
    numbered = rows.with_columns(bucket=pl.col("user_id") % buckets)
    parts = numbered.partition_by("bucket", include_key=False, as_dict=True)
    return [parts.get((bucket,), rows.clear()) for bucket in range(buckets)]


def write_segment(path: Path, schema: Schema, buckets: Iterable[pl.DataFrame]) -> int:
    """Write one row group per bucket, durably; return the number of rows."""
    rows = 0
    with pq.ParquetWriter(path, to_arrow(pl.DataFrame(schema=schema)).schema) as writer:
        for frame in buckets:
            rows += frame.height
            writer.write_table(to_arrow(frame), row_group_size=max(1, frame.height))
    fsync(path)
    return rows


def open_segment(path: Path) -> pq.ParquetFile:
    """Open a segment. The open file stays readable after a writer has removed it.

    Raises:
        FileNotFoundError: it does not exist (any more).
        IngestError: it is damaged.
    """
    try:
        return pq.ParquetFile(path)
    except FileNotFoundError:
        raise
    except (pa.ArrowInvalid, OSError) as error:
        raise IngestError(f"{path} is damaged: {error}") from error


def read_bucket(file: pq.ParquetFile, bucket: int, columns: list[str]) -> pl.DataFrame:
    """Read the named columns of one bucket.

    Raises:
        IngestError: the file is damaged there.
    """
    try:
        table = file.read_row_group(bucket, columns=columns, use_threads=False)
    except (pa.ArrowInvalid, OSError) as error:
        raise IngestError(f"a file of the store is damaged: {error}") from error
    frame = pl.from_arrow(table)
    assert isinstance(frame, pl.DataFrame)  # noqa: S101 - a table makes a frame
    return frame.select(columns)


def read_time_range(
    file: pq.ParquetFile, bucket: int, column: str
) -> tuple[datetime, datetime] | None:
    """Read oldest and newest time of a bucket from the file's statistics; None without times."""
    # A column's number is that of its leaf: the list of minutes has one leaf, as the others have.
    number = file.schema_arrow.names.index(column)
    statistics = file.metadata.row_group(bucket).column(number).statistics
    if statistics is None or not statistics.has_min_max:
        return None
    return statistics.min, statistics.max


def to_arrow(frame: pl.DataFrame) -> pa.Table:
    """Convert a frame to Arrow types that every Parquet reader knows."""
    return frame.to_arrow(compat_level=pl.CompatLevel.oldest())
