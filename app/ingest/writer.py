"""Writing the store: one writer at a time, each commit whole or not at all."""

from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from datetime import datetime
from pathlib import Path
from typing import Any

import polars as pl

from app.atomic_files import fsync
from app.ingest import manifest as manifests
from app.ingest.manifest import (
    TABLES,
    Manifest,
    Segment,
    Table,
    read_manifest,
    write_manifest,
)
from app.ingest.merge import merge_ratings, watches_of
from app.ingest.schemas import STORED_RATINGS, STORED_WATCHES
from app.ingest.segment import split_buckets, write_segment
from app.ingest.store import TIMES, Snapshot, snapshot
from app.ingest.directory_lock import LOCK, locked

#: More segments than this in a table, and a commit merges the newest ones.
MAX_SEGMENTS = 8
#: Times the rows of the newer segments that make an older one large enough to be left alone.
FAR_LARGER = 2


class Writer:
    """The one writer of a store; made by `open_writer`."""

    def __init__(self, path: Path, manifest: Manifest) -> None:
        self.path = path
        self.manifest = manifest

    def commit(
        self,
        watches: pl.DataFrame,
        ratings: pl.DataFrame,
        positions: dict[str, Any] | None = None,
    ) -> None:
        """Add events (`WATCH_EVENTS`, `RATING_EVENTS`) and, in the same step, set positions.

        `positions` takes the place of what the manifest held; None leaves that as it is.
        """
        changes: dict[str, Any] = {} if positions is None else {"positions": positions}
        if watches.height:
            changes |= self._added("watches", watches_of(watches))
        if ratings.height:
            changes |= self._added("ratings", merge_ratings([ratings]))
        if changes:
            self._publish(self.manifest.model_copy(update=changes))
        for table in TABLES:
            if len(self.manifest.segments(table)) > MAX_SEGMENTS:
                self._compact(table)

    def _added(self, table: Table, rows: pl.DataFrame) -> dict[str, Any]:
        name = self._new_name(table)
        written = write_segment(
            self.path / name, _schema(table), split_buckets(rows, self.manifest.buckets)
        )
        return {table: (*self.manifest.segments(table), Segment(name=name, rows=written))}

    def _compact(self, table: Table) -> None:
        """Merge the newest segments, up to the first that is far larger than all after it.

        So a row is rewritten a few times while the store grows, not once for each commit; and
        where users repeat themselves, segments together hold a few times the pairs that are kept.
        """
        segments = self.manifest.segments(table)
        start = len(segments) - 2
        while start > 0 and segments[start - 1].rows <= FAR_LARGER * sum(
            segment.rows for segment in segments[start:]
        ):
            start -= 1
        self._merge(table, start, None)

    def rewrite(self, table: Table, limit: datetime) -> int:
        """Merge a whole table, and leave out what is older than `limit`; how many rows."""
        return self._merge(table, 0, limit)

    def _merge(self, table: Table, start: int, limit: datetime | None) -> int:
        """Merge the segments from `start` on, newer rows alone where there is a limit."""
        segments = self.manifest.segments(table)
        newest = self.manifest.model_copy(update={table: segments[start:]})
        name = self._new_name(table)
        with ExitStack() as stack:
            merging = _Merging(snapshot(self.path, newest, stack), table, limit)
            written = write_segment(self.path / name, _schema(table), merging.buckets())
        added = (Segment(name=name, rows=written),) if written else ()
        self._publish(self.manifest.model_copy(update={table: (*segments[:start], *added)}))
        for segment in segments[start:]:
            (self.path / segment.name).unlink()
        if not written:
            (self.path / name).unlink()
        return merging.dropped

    def _new_name(self, table: Table) -> str:
        sequence = self.manifest.sequence + 1
        self.manifest = self.manifest.model_copy(update={"sequence": sequence})
        return f"{table}-{sequence:08}.parquet"

    def _publish(self, manifest: Manifest) -> None:
        fsync(self.path)  # the files' names must be durable before a manifest that holds them
        manifest = manifest.model_copy(update={"sequence": self.manifest.sequence})
        write_manifest(self.path, manifest)
        self.manifest = manifest


@contextmanager
def open_writer(path: Path, buckets: int = manifests.BUCKETS) -> Iterator[Writer]:
    """Open a store for writing, or make one (`buckets` counts then); one writer at a time.

    Raises:
        EventsError: another process writes to it (the message says which), it cannot be made, or
            it is damaged.
    """
    with locked(path, "the store"):
        manifest = read_manifest(path)
        if manifest is None:
            manifest = Manifest(buckets=buckets)
            write_manifest(path, manifest)
        _remove_orphans(path, manifest)
        yield Writer(path, manifest)


def _remove_orphans(path: Path, manifest: Manifest) -> None:
    """Remove what a killed writer left: files no manifest names."""
    known = {*manifest.names, manifests.NAME, LOCK}
    for file in path.iterdir():
        ours = file.suffix == ".parquet" or file.name.startswith(f".{manifests.NAME}.")
        if ours and file.name not in known:
            file.unlink()


def _schema(table: Table) -> dict[str, pl.DataType]:
    return STORED_WATCHES if table == "watches" else STORED_RATINGS


class _Merging:
    """A table's merged buckets, one at a time, and how many rows were too old."""

    def __init__(self, view: Snapshot, table: Table, limit: datetime | None) -> None:
        self.dropped = 0
        self._view = view
        self._table = table
        self._limit = limit

    def buckets(self) -> Iterator[pl.DataFrame]:
        for bucket in self._view.buckets:
            watches = self._table == "watches"
            rows = self._view.watches(bucket) if watches else self._view.ratings(bucket)
            if self._limit is None:
                yield rows
                continue
            # What has no time has no age.
            kept = rows.filter((pl.col(TIMES[self._table]) >= self._limit).fill_null(True))
            self.dropped += rows.height - kept.height
            yield kept
