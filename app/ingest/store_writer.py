"""Write an event store: one writer at a time, each commit atomic.

A commit writes new segments, syncs them and renames a new manifest into place. After a crash at
any moment the store is as the last commit left it. Segments that no manifest names are removed by
the next writer.
"""

from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from datetime import datetime
from pathlib import Path
from typing import Any

import polars as pl

from app.atomic_files import fsync
from app.ingest.merge import merge_ratings, merge_watch_events
from app.ingest.segment import open_segment, split_buckets, write_segment
from app.ingest.store_files import (
    DEFAULT_BUCKETS,
    LOCK_NAME,
    MANIFEST_NAME,
    TABLES,
    Manifest,
    Segment,
    Table,
    lock_directory,
    read_manifest,
    write_manifest,
)
from app.ingest.store_reader import NEWEST_TIME_COLUMNS, STORED_SCHEMAS, StoreSnapshot

#: A commit compacts a table that has more segments than this.
MAX_SEGMENTS = 8
#: Compaction stops at a segment with more than this many times the rows of all newer ones.
MAX_SIZE_RATIO = 2


class StoreWriter:
    """The only writer of a store; made by `open_writer`."""

    def __init__(self, path: Path, manifest: Manifest) -> None:
        self.path = path
        self.manifest = manifest

    def commit(
        self,
        watches: pl.DataFrame,
        ratings: pl.DataFrame,
        offsets: dict[str, Any] | None = None,
    ) -> None:
        """Add events and set the offsets of their source in one atomic step.

        Args:
            watches: `WATCH_EVENTS`.
            ratings: `RATING_EVENTS`.
            offsets: replaces the offsets in the manifest; None keeps them.
        """
        changes: dict[str, Any] = {} if offsets is None else {"offsets": offsets}
        if watches.height:
            changes |= self._add_segment("watches", merge_watch_events(watches))
        if ratings.height:
            changes |= self._add_segment("ratings", merge_ratings([ratings]))
        if changes:
            self._publish(self.manifest.model_copy(update=changes))
        for table in TABLES:
            if len(self.manifest.segments(table)) > MAX_SEGMENTS:
                self._compact(table)

    def drop_older(self, table: Table, min_time: datetime) -> int:
        """Rewrite a table without rows whose newest event is older; return how many they were.

        Rows without a time stay.
        """
        is_new = pl.col(NEWEST_TIME_COLUMNS[table]) >= min_time
        return self._merge_segments(table, 0, is_new.fill_null(True))  # no time, no age

    def drop_user(self, table: Table, user: int) -> int:
        """Rewrite a table without the rows of a user, if it has any; return how many they were."""
        with self._open_segments(table, 0) as snapshot:
            rows = snapshot.read_rows(table, user % self.manifest.buckets)
            if not rows["user_id"].is_in([user]).any():
                return 0
        return self._merge_segments(table, 0, pl.col("user_id") != user)

    def _add_segment(self, table: Table, rows: pl.DataFrame) -> dict[str, Any]:
        name = self._next_name(table)
        count = write_segment(
            self.path / name, STORED_SCHEMAS[table], split_buckets(rows, self.manifest.buckets)
        )
        return {table: (*self.manifest.segments(table), Segment(name=name, rows=count))}

    def _compact(self, table: Table) -> None:
        """Merge the newest segments, up to the first that is far larger than all newer ones.

        So a row is rewritten a few times as the store grows, not at every commit; and where users
        repeat themselves, the segments together hold only a few times the merged rows.
        """
        segments = self.manifest.segments(table)
        start = len(segments) - 2
        while start > 0 and segments[start - 1].rows <= MAX_SIZE_RATIO * sum(
            segment.rows for segment in segments[start:]
        ):
            start -= 1
        self._merge_segments(table, start, None)

    @contextmanager
    def _open_segments(self, table: Table, start: int) -> Iterator[StoreSnapshot]:
        """The rows of one table in the segments from `start` on."""
        segments = self.manifest.segments(table)[start:]
        with ExitStack() as stack:
            files = {
                segment.name: stack.enter_context(open_segment(self.path / segment.name))
                for segment in segments
            }
            newest = self.manifest.model_copy(
                update={"watches": (), "ratings": (), table: segments}
            )
            yield StoreSnapshot(newest, files)

    def _merge_segments(self, table: Table, start: int, is_kept: pl.Expr | None) -> int:
        """Merge the segments from `start` on to one; return the number of dropped rows."""
        segments = self.manifest.segments(table)
        name = self._next_name(table)
        merged = _MergedTable(table, is_kept)
        with self._open_segments(table, start) as snapshot:
            rows = write_segment(
                self.path / name, STORED_SCHEMAS[table], merged.read_buckets(snapshot)
            )
        added = (Segment(name=name, rows=rows),) if rows else ()
        self._publish(self.manifest.model_copy(update={table: (*segments[:start], *added)}))
        for segment in segments[start:]:
            (self.path / segment.name).unlink()
        if not rows:
            (self.path / name).unlink()
        return merged.dropped_rows

    def _next_name(self, table: Table) -> str:
        sequence = self.manifest.sequence + 1
        self.manifest = self.manifest.model_copy(update={"sequence": sequence})
        return f"{table}-{sequence:08}.parquet"

    def _publish(self, manifest: Manifest) -> None:
        fsync(self.path)  # file names must be durable before a manifest that holds them
        manifest = manifest.model_copy(update={"sequence": self.manifest.sequence})
        write_manifest(self.path, manifest)
        self.manifest = manifest


@contextmanager
def open_writer(path: Path, buckets: int = DEFAULT_BUCKETS) -> Iterator[StoreWriter]:
    """Open a store for writing, with the lock of its only writer.

    Args:
        path: directory of the store; created where it is missing.
        buckets: number of buckets of a new store.

    Raises:
        IngestError: another process writes to it (the message names it), it cannot be created, or
            it is damaged.
    """
    with lock_directory(path, "the store"):
        manifest = read_manifest(path)
        if manifest is None:
            manifest = Manifest(buckets=buckets)
            write_manifest(path, manifest)
        _remove_orphans(path, manifest)
        yield StoreWriter(path, manifest)


def _remove_orphans(path: Path, manifest: Manifest) -> None:
    """Remove files of a killed writer, which no manifest names."""
    known = {*manifest.segment_names, MANIFEST_NAME, LOCK_NAME}
    for file in path.iterdir():
        ours = file.suffix == ".parquet" or file.name.startswith(f".{MANIFEST_NAME}.")
        if ours and file.name not in known:
            file.unlink()


class _MergedTable:
    """Reads a table's merged buckets and counts the rows that are dropped."""

    def __init__(self, table: Table, is_kept: pl.Expr | None) -> None:
        self.dropped_rows = 0
        self._table = table
        self._is_kept = is_kept

    def read_buckets(self, snapshot: StoreSnapshot) -> Iterator[pl.DataFrame]:
        for bucket in snapshot.buckets:
            rows = snapshot.read_rows(self._table, bucket)
            if self._is_kept is not None:
                kept = rows.filter(self._is_kept)
                self.dropped_rows += rows.height - kept.height
                rows = kept
            yield rows
