"""The store of what was collected: a directory of immutable files and a manifest that names them.

A commit writes new files, makes them durable, and then renames a new manifest into place: that
rename is the commit. Killed at any moment, the store is as the last commit left it, and files no
manifest names are removed by the next writer. Readers hold the files of one manifest open, so that
a writer never disturbs them.
"""

from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from datetime import datetime
from pathlib import Path

import polars as pl
import pyarrow.parquet as pq

from app.ingest.errors import EventsError
from app.ingest.manifest import Manifest, Table, read_manifest
from app.ingest.merge import merge_ratings, merge_watches
from app.ingest.schemas import KEY, STORED_RATINGS, STORED_WATCHES, Schema
from app.ingest.segment import open_segment, read_bucket, time_range

_Merge = Callable[[list[pl.DataFrame]], pl.DataFrame]

_SCHEMAS = {"watches": STORED_WATCHES, "ratings": STORED_RATINGS}
_MERGES = {"watches": merge_watches, "ratings": merge_ratings}
#: The column that says how new a row is.
TIMES = {"watches": "last_time", "ratings": "time"}
#: Rows of a bucket that may wait to be merged, beside as many again as are merged already. Segments
#: that repeat one another would otherwise lie in memory side by side.
_GATHERED_ROWS = 32_768
_ATTEMPTS = 20


class Snapshot:
    """The store as it was at one commit. `buckets` are read and merged one at a time."""

    def __init__(self, manifest: Manifest, files: dict[Table, list[pq.ParquetFile]]) -> None:
        self.manifest = manifest
        self._files = files

    @property
    def buckets(self) -> range:
        """The numbers of the buckets; a user's rows are all in one."""
        return range(self.manifest.buckets)

    def watches(self, bucket: int) -> pl.DataFrame:
        """`STORED_WATCHES`, one row per user and movie, sorted by `KEY`."""
        return self._merged("watches", bucket)

    def ratings(self, bucket: int) -> pl.DataFrame:
        """`STORED_RATINGS`, one row per user and movie, sorted by `KEY`."""
        return self._merged("ratings", bucket)

    def keys(self, table: Table, bucket: int) -> pl.DataFrame:
        """The users and movies of a bucket's rows, each pair once, in no order."""
        return self._gather(table, bucket, _keys_schema(), _distinct)

    def times(self, table: Table, bucket: int) -> tuple[datetime, datetime] | None:
        """The oldest and newest time in a bucket, from the files' statistics; None without any."""
        found = [time_range(file, bucket, TIMES[table]) for file in self._files[table]]
        known = [times for times in found if times]
        return (min(low for low, _ in known), max(high for _, high in known)) if known else None

    def _merged(self, table: Table, bucket: int) -> pl.DataFrame:
        return self._gather(table, bucket, _SCHEMAS[table], _MERGES[table])

    def _gather(self, table: Table, bucket: int, schema: Schema, merge: _Merge) -> pl.DataFrame:
        """A bucket of all segments, merged as it is read."""
        held: list[pl.DataFrame] = []
        rows = merged = 0
        for file in self._files[table]:
            held.append(read_bucket(file, bucket, list(schema)))
            rows += held[-1].height
            if rows > 2 * merged + _GATHERED_ROWS:
                held = [merge(held)]
                rows = merged = held[0].height
        return merge(held or [pl.DataFrame(schema=schema)])


@contextmanager
def open_store(path: Path) -> Iterator[Snapshot]:
    """Open a store to read it as it is now.

    Raises:
        EventsError: there is none, or it is damaged.
    """
    with ExitStack() as stack:
        yield _open(path, stack)


def _open(path: Path, stack: ExitStack) -> Snapshot:
    for _ in range(_ATTEMPTS):
        manifest = read_manifest(path)
        if manifest is None:
            raise EventsError(f"no store at {path}: `marquee collect --file LOG` makes one")
        try:
            return snapshot(path, manifest, stack)
        except FileNotFoundError as error:
            missing = error  # a writer may have replaced it since: look again
            if read_manifest(path) == manifest:
                break
    raise EventsError(f"the store {path} lacks a file: {missing}")


def snapshot(path: Path, manifest: Manifest, stack: ExitStack) -> Snapshot:
    """Open the files of a manifest, to be closed with `stack`."""
    files: dict[Table, list[pq.ParquetFile]] = {"watches": [], "ratings": []}
    for table, opened in files.items():
        for segment in manifest.segments(table):
            opened.append(stack.enter_context(open_segment(path / segment.name)))
    return Snapshot(manifest, files)


def _distinct(parts: list[pl.DataFrame]) -> pl.DataFrame:
    return parts[0] if len(parts) == 1 else pl.concat(parts).unique()


def _keys_schema() -> Schema:
    return {name: STORED_RATINGS[name] for name in KEY}
