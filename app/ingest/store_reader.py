"""Read an event store as it was at one commit, whatever a writer does meanwhile.

Rows are read and merged bucket by bucket, so that memory does not grow with the store.
"""

from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from datetime import datetime
from pathlib import Path

import polars as pl
import pyarrow.parquet as pq

from app.ingest.errors import IngestError
from app.ingest.merge import merge_ratings, merge_watches
from app.ingest.schemas import KEY, STORED_RATINGS, STORED_WATCHES, Schema
from app.ingest.segment import open_segment, read_bucket, read_time_range
from app.ingest.store_files import TABLES, Manifest, Table, open_segments

_Merge = Callable[[list[pl.DataFrame]], pl.DataFrame]

STORED_SCHEMAS: dict[Table, Schema] = {"watches": STORED_WATCHES, "ratings": STORED_RATINGS}
#: The column with the time of the newest event of a row.
NEWEST_TIME_COLUMNS: dict[Table, str] = {"watches": "last_time", "ratings": "time"}
_MERGES: dict[Table, _Merge] = {"watches": merge_watches, "ratings": merge_ratings}
#: Unmerged rows of a bucket that are held in memory, beside twice as many merged ones. Without the
#: limit, segments that repeat one another would all be in memory at once.
_MAX_UNMERGED_ROWS = 32_768


class StoreSnapshot:
    """The store at one commit; `buckets` are read and merged one at a time."""

    def __init__(self, manifest: Manifest, files: Mapping[str, pq.ParquetFile]) -> None:
        self.manifest = manifest
        self._files: dict[Table, list[pq.ParquetFile]] = {
            table: [files[segment.name] for segment in manifest.segments(table)] for table in TABLES
        }

    @property
    def buckets(self) -> range:
        """The numbers of the buckets; all rows of a user are in one."""
        return range(self.manifest.buckets)

    def count_stored_rows(self, table: Table) -> int:
        """Return the number of rows before equal pairs of user and movie are merged."""
        return sum(segment.rows for segment in self.manifest.segments(table))

    def read_watches(self, bucket: int) -> pl.DataFrame:
        """Return `STORED_WATCHES`, one row per user and movie, sorted by `KEY`."""
        return self.read_rows("watches", bucket)

    def read_ratings(self, bucket: int) -> pl.DataFrame:
        """Return `STORED_RATINGS`, one row per user and movie, sorted by `KEY`."""
        return self.read_rows("ratings", bucket)

    def read_rows(self, table: Table, bucket: int) -> pl.DataFrame:
        """Return the rows of either table, one per user and movie, sorted by `KEY`."""
        return self._read_merged(table, bucket, STORED_SCHEMAS[table], _MERGES[table])

    def read_keys(self, table: Table, bucket: int) -> pl.DataFrame:
        """Return the distinct pairs of user and movie (`KEY`), unsorted."""
        schema = {name: STORED_RATINGS[name] for name in KEY}
        return self._read_merged(table, bucket, schema, _merge_keys)

    def read_time_range(self, table: Table, bucket: int) -> tuple[datetime, datetime] | None:
        """Return oldest and newest time of a bucket from file statistics; None without times."""
        column = NEWEST_TIME_COLUMNS[table]
        ranges = [read_time_range(file, bucket, column) for file in self._files[table]]
        known = [times for times in ranges if times]
        return (min(low for low, _ in known), max(high for _, high in known)) if known else None

    def _read_merged(
        self, table: Table, bucket: int, schema: Schema, merge: _Merge
    ) -> pl.DataFrame:
        """Read a bucket of all segments, merging whenever too many rows are unmerged."""
        frames: list[pl.DataFrame] = []
        rows = merged_rows = 0
        for file in self._files[table]:
            frames.append(read_bucket(file, bucket, list(schema)))
            rows += frames[-1].height
            if rows > 2 * merged_rows + _MAX_UNMERGED_ROWS:
                frames = [merge(frames)]
                rows = merged_rows = frames[0].height
        return merge(frames or [pl.DataFrame(schema=schema)])


@contextmanager
def open_store(path: Path) -> Iterator[StoreSnapshot]:
    """Open a store to read it as it is now.

    Raises:
        IngestError: there is none, or it is damaged.
    """
    with open_segments(path, open_segment) as (manifest, files):
        if manifest is None:
            raise IngestError(f"no store at {path}: `marquee collect --file LOG` makes one")
        yield StoreSnapshot(manifest, files)


def _merge_keys(frames: list[pl.DataFrame]) -> pl.DataFrame:
    return frames[0] if len(frames) == 1 else pl.concat(frames).unique()
