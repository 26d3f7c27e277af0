"""The reading end of the queue: what waits, how far it was taken, and what is done with."""

import contextlib
import json
import os
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from app import logs
from app.provenance.record_format import Answered, bodies, parse_answer
from app.provenance.spool_writer import ABOUT_SUFFIX, SEGMENT_BYTES, segments, try_lock

POSITIONS = "shipped.json"
#: A file under a hidden name that is older than this was left by a process that was killed.
_LEFT_OVER_SECONDS = 60

_log = logs.get(__name__)


@dataclass(frozen=True)
class Piece:
    """Consecutive records of one segment, not yet in the database."""

    segment: Path
    end: int
    head: dict[str, Any]
    records: list[Answered]


class Backlog:
    """What waits in a queue directory; one reader at a time."""

    def __init__(self, directory: Path) -> None:
        self.directory = directory
        self.torn = 0
        self._positions: dict[str, int] = _read_positions(directory / POSITIONS)

    def abouts(self) -> Iterator[tuple[Path, dict[str, Any]]]:
        """What slots say of themselves. A file that makes no sense is put aside."""
        for path in sorted(self.directory.glob(f"[!.]*{ABOUT_SUFFIX}")):
            try:
                yield path, json.loads(path.read_bytes())
            except (ValueError, OSError) as error:
                _put_aside(path, str(error))

    def pieces(self, segment: Path, most: int) -> Iterator[Piece]:
        """The records of a segment that are not taken yet, at most so many at a time."""
        start = self.position(segment)
        data, head = _read(segment)
        if head is None or start >= len(data):
            return
        start = max(start, head[1])
        records: list[Answered] = []
        end = start
        for body, end in bodies(data, start):
            records.append(parse_answer(body))
            if len(records) >= most:
                yield Piece(segment, end, head[0], records)
                records = []
        if records:
            yield Piece(segment, end, head[0], records)

    def taken(self, pieces: list[Piece]) -> None:
        """Keep in mind, also after a restart, that these are in the database."""
        for piece in pieces:
            self._positions[piece.segment.name] = piece.end
        self._write_positions()

    def finish(self, segment: Path) -> None:
        """Remove a segment that nobody writes any more, if all of it is taken."""
        descriptor = try_lock(segment)
        if descriptor is None:
            return
        try:
            data, head = _read(segment)
            position = self._positions.get(segment.name, head[1] if head else 0)
            if next(bodies(data, position), None) is not None:
                return  # written after it was read last
            if rest := len(data[position:].rstrip(b"\0")):  # zeros: space that was not used
                self._note_torn(segment, rest)
            segment.unlink(missing_ok=True)
        finally:
            os.close(descriptor)
        if self._positions.pop(segment.name, None) is not None:
            self._write_positions()

    def tidy(self) -> None:
        """Remove what killed processes left under hidden names, and positions of no segment."""
        for path in self.directory.glob(".*"):
            with contextlib.suppress(FileNotFoundError):
                if path.is_file() and path.stat().st_mtime < time.time() - _LEFT_OVER_SECONDS:
                    path.unlink()
        present = {path.name for path in segments(self.directory)}
        self._positions = {k: v for k, v in self._positions.items() if k in present}

    def position(self, segment: Path) -> int:
        """How far a segment is in the database (bytes)."""
        return self._positions.get(segment.name, 0)

    def _note_torn(self, segment: Path, rest: int) -> None:
        self.torn += 1
        if rest > SEGMENT_BYTES >> 8:  # more than the one record a kill can tear
            kept = segment.with_suffix(".damaged")
            with contextlib.suppress(OSError):
                os.link(segment, kept)
            _log.error("a segment is damaged; the rest of it is kept", file=kept.name, bytes=rest)
        else:
            _log.warning("a record was torn when its process was killed", bytes=rest)

    def _write_positions(self) -> None:
        aside = self.directory / f".{POSITIONS}"
        aside.write_text(json.dumps(self._positions))
        aside.rename(self.directory / POSITIONS)


def _read(segment: Path) -> tuple[bytes, tuple[dict[str, Any], int] | None]:
    """A segment's content, its head and where that ends; no head: gone, or not a segment."""
    try:
        data = segment.read_bytes()
        body, end = next(bodies(data))
        return data, (json.loads(body), end)
    except FileNotFoundError:
        return b"", None
    except (StopIteration, ValueError):
        _put_aside(segment, "no head")
        return b"", None


def _read_positions(path: Path) -> dict[str, int]:
    try:
        return {str(k): int(v) for k, v in json.loads(path.read_bytes()).items()}
    except FileNotFoundError:
        return {}
    except (ValueError, AttributeError):  # records are then sent again, which changes nothing
        _log.warning("the shipper's position cannot be read; records are sent again")
        return {}


def _put_aside(path: Path, reason: str) -> None:
    with contextlib.suppress(FileNotFoundError):
        path.rename(path.with_suffix(".damaged"))
        _log.error(
            "a file of the queue makes no sense and is put aside", file=path.name, why=reason
        )
