"""File locks: one writer of a directory, one run at a time, one owner of a data file.

Every lock is the kernel's (`flock`): it ends with the last process that holds its descriptor,
however that process ends, so that no stale lock has to be recognised.
"""

import fcntl
import os
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import datetime
from pathlib import Path

from filelock import FileLock, Timeout

_MODE = 0o640


class LockHeldError(Exception):
    """Another process holds the lock.

    Attributes:
        owner: that process and since when, as it wrote into the lock file.
    """

    def __init__(self, path: Path, owner: str) -> None:
        super().__init__(f"{path} is held by {owner}")
        self.owner = owner


@contextmanager
def exclusive_lock(path: Path, *, timeout_seconds: float = 0.0) -> Iterator[int]:
    """Hold the lock file `path`, whose directory must exist; yield its descriptor.

    A child process that inherits the descriptor (`pass_fds`) keeps the lock when this process is
    killed, until it ends itself; leaving the block releases it for both. The file stays, and names
    its last owner.

    Args:
        path: the lock file; made where it is missing.
        timeout_seconds: how long to wait for another owner; negative: without limit.

    Raises:
        LockHeldError: another process still holds it.
        OSError: it cannot be made.
    """
    descriptors: list[int] = []

    def write_owner(descriptor: int) -> None:
        owner = f"process {os.getpid()} since {datetime.now().isoformat(' ', 'seconds')}\n"
        os.ftruncate(descriptor, 0)
        os.pwrite(descriptor, owner.encode(), 0)
        descriptors.append(descriptor)

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


def try_lock_descriptor(descriptor: int) -> bool:
    """Lock an open data file without waiting; False where another process holds it.

    For files whose lock means that a process still writes them: the lock has to be on the writing
    descriptor, which a separate lock file (`exclusive_lock`) does not provide. It ends when the
    descriptor is closed.
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
