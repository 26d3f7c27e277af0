"""Write records to the spool: one copy into a memory-mapped segment each, and no system call.

The spool is a directory that all processes of all slots write to and one shipper reads. Each
process has a segment file of its own, and holds an exclusive lock on it while it may write to it.
The disk space of a segment is allocated when it is created, so that a full disk is an error there
and not at a record. What was copied into the mapping is in the page cache, which survives the
process. A segment is created under a hidden name, and renamed once it is locked and has its header.
"""

import contextlib
import mmap
import os
import time
from collections.abc import Callable
from pathlib import Path
from time import monotonic
from typing import Any

from app import logs
from app.atomic_files import write_file
from app.locks import try_lock_descriptor
from app.provenance.record_format import (
    SegmentHeader,
    add_format,
    count_frames,
    encode_header,
    encode_info,
)

SEGMENT_SUFFIX = ".segment"
INSTANCE_INFO_SUFFIX = ".info.json"
SEGMENT_BYTES = 1 << 20
#: After a failure, no new segment is tried for so long.
_RETRY_SECONDS = 1.0
_LOG_INTERVAL_SECONDS = 10.0

#: Why records are dropped: the spool has reached its bound, or no segment can be created.
SPOOL_FULL, WRITE_FAILED = "spool_full", "write_failed"
DROP_REASONS = (SPOOL_FULL, WRITE_FAILED)

_log = logs.get(__name__)

#: Called with the reason and the number of records that were dropped.
OnDropped = Callable[[str, int], None]


class SpoolWriter:
    """Appends the records of one process.

    Args:
        directory: the spool; created where it is missing.
        header: the fields that are equal in all records of this process.
        instance_info: what the database must know of this model and build (`describe_instance`);
            written before any record.
        max_bytes: bound of the spool; beyond it the oldest segments are removed.
        on_dropped: called for every record that is not written, or removed before it was shipped.
    """

    def __init__(
        self,
        directory: Path,
        header: SegmentHeader,
        instance_info: dict[str, Any],
        max_bytes: int,
        on_dropped: OnDropped,
    ) -> None:
        self._directory = directory
        self._slot = header.slot
        self._header = encode_header(header)
        self._info = encode_info(instance_info)
        # Each description has a name of its own: none is replaced before it is shipped.
        name = f"{header.build_id}-{header.slot}-{header.configuration_id or 0:x}"
        self._info_name = add_format(name, INSTANCE_INFO_SUFFIX)
        self._info_written = False
        self._max_bytes = max_bytes
        self._on_dropped = on_dropped
        self._descriptor = -1
        self._map = mmap.mmap(-1, 1)
        self._end = self._size = 0
        self._error: OSError | None = None
        self._retry_at = 0.0
        self._log_at = 0.0
        self._unlogged = 0
        os.register_at_fork(after_in_child=self._reset_after_fork)

    def write_instance_info(self) -> None:
        """Write the instance's information; a failure is logged, and retried with each segment."""
        try:
            self._write_instance_info()
        except OSError as error:
            _log.error("cannot write to the spool", error=str(error))

    def append(self, record: bytes) -> None:
        """Append one encoded record; a failure is counted and logged, never raised."""
        end = self._end + len(record)
        if end > self._size:
            try:
                self._start_segment()
            except OSError as error:
                self._handle_failure(error)
                return
            end = self._end + len(record)
        self._map[self._end : end] = record
        self._end = end

    def close(self) -> None:
        """Finish the segment; the next record starts another."""
        if self._descriptor >= 0:
            self._map.close()
            if self._size:
                os.ftruncate(self._descriptor, self._end)
            os.close(self._descriptor)
        self._descriptor, self._end, self._size = -1, 0, 0

    def _start_segment(self) -> None:
        if self._error is not None and monotonic() < self._retry_at:
            raise self._error
        self.close()
        self._write_instance_info()
        if dropped := drop_oldest_segments(self._directory, self._max_bytes):
            self._on_dropped(SPOOL_FULL, dropped)
            _log.error("spool full: oldest records dropped", records=dropped)
        name = f"{time.time_ns():016x}-{self._slot}-{os.getpid()}"
        name = add_format(name, SEGMENT_SUFFIX)
        hidden = self._directory / f".{name}"
        try:
            self._create(hidden)
            hidden.rename(self._directory / name)
        except OSError:
            hidden.unlink(missing_ok=True)
            raise
        self._map = mmap.mmap(self._descriptor, SEGMENT_BYTES)
        self._end, self._size = len(self._header), SEGMENT_BYTES
        self._error = None

    def _create(self, path: Path) -> None:
        flags = os.O_RDWR | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC
        self._descriptor = os.open(path, flags, 0o640)
        try_lock_descriptor(self._descriptor)
        os.posix_fallocate(self._descriptor, 0, SEGMENT_BYTES)
        os.pwrite(self._descriptor, self._header, 0)

    def _reset_after_fork(self) -> None:
        """A forked process starts a segment of its own; this one stays its parent's."""
        if self._descriptor >= 0:
            os.close(self._descriptor)
        self._descriptor, self._end, self._size = -1, 0, 0

    def _write_instance_info(self) -> None:
        if not self._info_written:
            self._directory.mkdir(parents=True, exist_ok=True)
            write_file(self._directory / self._info_name, self._info)
            self._info_written = True

    def _handle_failure(self, error: OSError) -> None:
        """Count a dropped record; wait before the next attempt."""
        self.close()
        now = monotonic()
        if self._error is None or now >= self._retry_at:
            self._error, self._retry_at = error, now + _RETRY_SECONDS
        self._on_dropped(WRITE_FAILED, 1)
        self._unlogged += 1
        if now >= self._log_at:
            _log.error("cannot write to the spool", error=str(error), records=self._unlogged)
            self._log_at, self._unlogged = now + _LOG_INTERVAL_SECONDS, 0


def list_segments(directory: Path) -> list[Path]:
    """The segments of a spool, oldest first."""
    return sorted(directory.glob(f"[!.]*{SEGMENT_SUFFIX}"))


def segment_sizes(directory: Path) -> dict[Path, int]:
    """The segments of a spool, oldest first, and their bytes."""
    sizes = {}
    for path in list_segments(directory):
        with contextlib.suppress(FileNotFoundError):  # shipped in the meantime
            sizes[path] = path.stat().st_size
    return sizes


def lock_finished_segment(path: Path) -> int | None:
    """Lock a segment that no process writes any more; None where one does, or it is gone.

    The caller closes the returned descriptor, which releases the lock.
    """
    try:
        descriptor = os.open(path, os.O_RDONLY)
    except FileNotFoundError:
        return None
    if not try_lock_descriptor(descriptor):
        os.close(descriptor)
        return None
    return descriptor


def drop_oldest_segments(directory: Path, max_bytes: int) -> int:
    """Remove finished segments, oldest first, until another fits; return the number of records.

    A segment whose records are partly in the database already counts as a whole.
    """
    sizes = segment_sizes(directory)
    excess = sum(sizes.values()) + SEGMENT_BYTES - max_bytes
    dropped = 0
    for path, size in sizes.items():
        if excess <= 0:
            break
        descriptor = lock_finished_segment(path)
        if descriptor is None:
            continue
        try:
            if os.fstat(descriptor).st_nlink:  # not removed since it was opened
                dropped += max(0, count_frames(os.read(descriptor, size))[0] - 1)
                path.unlink()
                excess -= size
        finally:
            os.close(descriptor)
    return dropped
