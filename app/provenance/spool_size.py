"""How long the queue is; asked by Prometheus every few seconds, so it reads no byte twice."""

import contextlib
import time
from dataclasses import dataclass
from pathlib import Path

from app.provenance.record_format import count
from app.provenance.spool_reader import Backlog
from app.provenance.spool_writer import sizes


@dataclass
class Length:
    """What waits at one moment."""

    bytes: int = 0
    records: int = 0
    oldest_seconds: float = 0.0


class QueueLength:
    """Counts what waits; remembers how many records stand before each place it has read."""

    def __init__(self, backlog: Backlog) -> None:
        self._backlog = backlog
        self._seen: dict[Path, tuple[int, int]] = {}
        self._taken: dict[Path, tuple[int, int]] = {}

    def measure(self) -> Length:
        """What waits now."""
        length, found = Length(), sizes(self._backlog.directory)
        for kept in (self._seen, self._taken):
            for gone in kept.keys() - found.keys():
                del kept[gone]
        for path, size in found.items():
            position = self._backlog.position(path)
            taken = self._count(self._taken, path, position)
            records = self._count(self._seen, path, size) - taken
            if records > 0:
                length.bytes += self._seen[path][0] - position
                length.records += records
                length.oldest_seconds = length.oldest_seconds or self._age(path)
        return length

    def _count(self, kept: dict[Path, tuple[int, int]], path: Path, end: int) -> int:
        """Records before `end`."""
        start, frames = kept.get(path, (0, 0))
        with contextlib.suppress(FileNotFoundError), path.open("rb") as file:
            file.seek(start)
            more, length = count(file.read(max(0, end - start)))
            start, frames = kept[path] = (start + length, frames + more)
        return max(0, frames - 1)  # the first frame is the segment's head

    def _age(self, path: Path) -> float:
        for piece in self._backlog.pieces(path, most=1):
            return max(0.0, time.time() - piece.records[0].time / 1e6)
        return 0.0
