"""Measure how much of the spool is not in the database yet.

Prometheus asks every few seconds, so no byte of a segment is read twice.
"""

import contextlib
import time
from dataclasses import dataclass
from pathlib import Path

from app.provenance.record_format import count_frames
from app.provenance.spool_reader import SpoolReader
from app.provenance.spool_writer import segment_sizes


@dataclass
class Backlog:
    """The records that are not in the database yet.

    Attributes:
        bytes: their size in the spool.
        records: their number.
        oldest_age_seconds: the age of the oldest; 0 without any.
    """

    bytes: int = 0
    records: int = 0
    oldest_age_seconds: float = 0.0


class SpoolSize:
    """Counts records; caches the number of them before each offset it has read to."""

    def __init__(self, reader: SpoolReader) -> None:
        self._reader = reader
        # Each: segment -> (offset, number of frames before it).
        self._written: dict[Path, tuple[int, int]] = {}
        self._committed: dict[Path, tuple[int, int]] = {}

    def measure(self) -> Backlog:
        """Count the records that wait now."""
        backlog, sizes = Backlog(), segment_sizes(self._reader.directory)
        for cache in (self._written, self._committed):
            for gone in cache.keys() - sizes.keys():
                del cache[gone]
        for path, size in sizes.items():
            offset = self._reader.committed_offset(path)
            committed = self._count_records(self._committed, path, offset)
            records = self._count_records(self._written, path, size) - committed
            if records > 0:
                backlog.bytes += self._written[path][0] - offset
                backlog.records += records
                backlog.oldest_age_seconds = backlog.oldest_age_seconds or self._age_seconds(path)
        return backlog

    def _count_records(self, cache: dict[Path, tuple[int, int]], path: Path, end: int) -> int:
        """The number of records before the offset `end`."""
        start, frames = cache.get(path, (0, 0))
        with contextlib.suppress(FileNotFoundError), path.open("rb") as file:
            file.seek(start)
            more, length = count_frames(file.read(max(0, end - start)))
            start, frames = cache[path] = (start + length, frames + more)
        return max(0, frames - 1)  # the first frame is the segment's header

    def _age_seconds(self, path: Path) -> float:
        for batch in self._reader.read_batches(path, max_records=1):
            if batch.records:
                return max(0.0, time.time() - batch.records[0].answered_at_us / 1e6)
        return 0.0
