"""File locks: one writer of a directory, one run at a time, one owner of a data file.

All locks are `flock` locks: the kernel releases one when the last process with its descriptor ends,
even by a kill. So there are no stale locks to detect.
"""

import contextlib
import fcntl
import os
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import datetime
from pathlib import Path

from filelock import FileLock, Timeout

from app.cli_errors import MarqueeError

_MODE = 0o640


class LockHeldError(MarqueeError):
    """Another process holds the lock.

    Attributes:
        owner: the id of that process and when it took the lock, as in the lock file.
    """

    def __init__(self, path: Path, owner: str) -> None:
        super().__init__(f"{path} is held by {owner}")
        self.owner = owner


@contextmanager
def exclusive_lock(path: Path, *, timeout_seconds: float = 0.0) -> Iterator[int]:
    """Hold the lock file `path`, whose directory must exist; yield its descriptor.

    A child process that inherits the descriptor (`pass_fds`) holds the lock as well: when this
    process is killed, the lock lasts until the child ends. Leaving the block releases it for both.
    The file is not removed, and names its last owner (unless the disk is full).

    Args:
        path: the lock file; created if it is missing.
        timeout_seconds: how long to wait for another owner; negative for no limit.

    Raises:
        LockHeldError: another process still holds it.
        OSError: the lock file cannot be created.
    """
    descriptors: list[int] = []

    def write_owner(descriptor: int) -> None:
        owner = f"process {os.getpid()} since {datetime.now().isoformat(' ', 'seconds')}\n"
        descriptors.append(descriptor)
        with contextlib.suppress(OSError):
            os.ftruncate(descriptor, 0)
            os.pwrite(descriptor, owner.encode(), 0)

    lock = FileLock(
        path,
        timeout=timeout_seconds,
        mode=_MODE,
        preserve_lock_file=True,
        on_acquired=write_owner,
    )
    try:
        lock.acquire()
    except Timeout:
        raise LockHeldError(path, _read_owner(path)) from None
    try:
        yield descriptors[0]
    finally:
        lock.release()


def is_locked(path: Path) -> bool:
    """Whether a process holds the lock file `path`.

    For a moment this process holds a shared lock: who takes the lock at this moment needs a
    `timeout_seconds`.

    Raises:
        OSError: the file cannot be opened.
    """
    try:
        descriptor = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
    except FileNotFoundError:
        return False
    try:
        fcntl.flock(descriptor, fcntl.LOCK_SH | fcntl.LOCK_NB)
    except BlockingIOError:
        return True
    finally:
        os.close(descriptor)
    return False


def try_lock_descriptor(descriptor: int) -> bool:
    """Lock an open data file without waiting; return False if another process holds the lock.

    For files whose lock means that a process still writes them: the lock has to be on the writing
    descriptor, which a separate lock file (`exclusive_lock`) does not provide. Closing the
    descriptor releases it.
    """
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    return True


def _read_owner(path: Path) -> str:
    try:
        return path.read_text(encoding="utf-8").strip() or "a process that just started"
    except OSError:
        return "an unknown process"
