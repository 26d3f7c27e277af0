"""The writing end of the queue: for each answer a copy into the page cache, and no system call.

A segment's space is taken when it is begun, so that a full disk shows there and nowhere else, and
mapped: what was copied into it survives the process. Each process has a segment of its own in the
shared directory and holds a lock on it for as long as it lives: whoever else gets that lock knows
that nobody writes there any more. A segment is seen only once it is locked and begun, because it is
made under a hidden name.
"""

import contextlib
import fcntl
import json
import mmap
import os
import time
from collections.abc import Callable
from pathlib import Path
from time import monotonic
from typing import Any

from app import logs
from app.provenance.record_format import count, frame

SUFFIX = ".segment"
ABOUT_SUFFIX = ".about"
SEGMENT_BYTES = 1 << 20
#: After a failure the directory is tried again no sooner than this.
_RETRY_SECONDS = 1.0
_LOG_SECONDS = 10.0

_log = logs.get(__name__)

#: Told how many records were lost, and whether `dropped` (queue full) or `failed` (not written).
Lost = Callable[[str, int], None]


class Recorder:
    """Appends the records of one process.

    Args:
        directory: the queue; made where it is missing.
        head: what holds for every record of this process.
        about: what the database must know of this model and build, sent before any record.
        max_bytes: above this, the oldest segments go.
        lost: told of every record that does not reach the queue or is dropped from it.
    """

    def __init__(
        self,
        directory: Path,
        head: dict[str, Any],
        about: dict[str, Any],
        max_bytes: int,
        lost: Lost,
    ) -> None:
        self._directory = directory
        self._slot = str(head["slot"])
        self._head = frame(json.dumps(head).encode())
        self._about = json.dumps(about).encode()
        self._about_name = f"{about['build']['build_id']}-{self._slot}{ABOUT_SUFFIX}"
        self._told = False
        self._max_bytes = max_bytes
        self._lost = lost
        self._descriptor = -1
        self._map = mmap.mmap(-1, 1)
        self._end = self._size = 0
        self._error: OSError | None = None
        self._retry_at = 0.0
        self._log_at = 0.0
        self._unlogged = 0
        os.register_at_fork(after_in_child=self._disown)

    def tell(self) -> None:
        """Put what this process says of itself into the queue; tried again with each segment."""
        try:
            self._tell()
        except OSError as error:
            _log.error("recording cannot begin; answers go on", error=str(error))

    def append(self, record: bytes) -> None:
        """Append one record; a failure is counted and logged, never raised."""
        if self._end + len(record) > self._size:
            try:
                self._begin_segment()
            except OSError as error:
                self._fail(error)
                return
        end = self._end + len(record)
        self._map[self._end : end] = record
        self._end = end

    def _begin_segment(self) -> None:
        if self._error is not None and monotonic() < self._retry_at:
            raise self._error
        self.close()
        self._tell()
        if dropped := drop_oldest(self._directory, self._max_bytes):
            self._lost("dropped", dropped)
            _log.error("the queue is full: oldest records dropped", records=dropped)
        name = f"{time.time_ns():016x}-{self._slot}-{os.getpid()}{SUFFIX}"
        aside = self._directory / f".{name}"
        try:
            self._open(aside)
            aside.rename(self._directory / name)
        except OSError:
            aside.unlink(missing_ok=True)
            raise
        self._map = mmap.mmap(self._descriptor, SEGMENT_BYTES)
        self._end, self._size = len(self._head), SEGMENT_BYTES
        self._error = None

    def _open(self, path: Path) -> None:
        flags = os.O_RDWR | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC
        self._descriptor = os.open(path, flags, 0o640)
        fcntl.flock(self._descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        os.posix_fallocate(self._descriptor, 0, SEGMENT_BYTES)
        os.pwrite(self._descriptor, self._head, 0)

    def close(self) -> None:
        """End the segment; the next record begins another."""
        if self._descriptor >= 0:
            self._map.close()
            if self._size:
                os.ftruncate(self._descriptor, self._end)
            os.close(self._descriptor)
        self._descriptor, self._end, self._size = -1, 0, 0

    def _disown(self) -> None:
        """A forked process begins a segment of its own; this one stays its parent's."""
        if self._descriptor >= 0:
            os.close(self._descriptor)
        self._descriptor, self._end, self._size = -1, 0, 0

    def _tell(self) -> None:
        if not self._told:
            self._directory.mkdir(parents=True, exist_ok=True)
            aside = self._directory / f".{self._about_name}.{os.getpid()}"
            aside.write_bytes(self._about)
            aside.rename(self._directory / self._about_name)
            self._told = True

    def _fail(self, error: OSError) -> None:
        """Count a lost record; try a new segment in a second."""
        self.close()
        now = monotonic()
        if self._error is None or now >= self._retry_at:
            self._error, self._retry_at = error, now + _RETRY_SECONDS
        self._lost("failed", 1)
        self._unlogged += 1
        if now >= self._log_at:
            _log.error("answers are not recorded", error=str(error), records=self._unlogged)
            self._log_at, self._unlogged = now + _LOG_SECONDS, 0


def segments(directory: Path) -> list[Path]:
    """The queue's segments, oldest first."""
    return sorted(directory.glob(f"[!.]*{SUFFIX}"))


def try_lock(path: Path) -> int | None:
    """A descriptor that locks a segment nobody writes any more; None for a living one, or none.

    The caller closes the descriptor, which ends the lock.
    """
    try:
        descriptor = os.open(path, os.O_RDONLY)
    except FileNotFoundError:
        return None
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        os.close(descriptor)
        return None
    return descriptor


def sizes(directory: Path) -> dict[Path, int]:
    """The queue's segments, oldest first, and their bytes."""
    found = {}
    for path in segments(directory):
        with contextlib.suppress(FileNotFoundError):  # shipped in the meantime
            found[path] = path.stat().st_size
    return found


def drop_oldest(directory: Path, max_bytes: int) -> int:
    """Remove finished segments, oldest first, until one more fits; how many records went.

    A segment that is partly in the database already counts whole.
    """
    found = sizes(directory)
    excess = sum(found.values()) + SEGMENT_BYTES - max_bytes
    dropped = 0
    for path, size in found.items():
        if excess <= 0:
            break
        descriptor = try_lock(path)
        if descriptor is None:
            continue
        try:
            if os.fstat(descriptor).st_nlink:  # not taken away since it was opened
                dropped += max(0, count(os.read(descriptor, size))[0] - 1)
                path.unlink()
                excess -= size
        finally:
            os.close(descriptor)
    return dropped
