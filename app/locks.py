"""One writer at a time: a lock file that says whose it is, and is nobody's once that one ends."""

import fcntl
import os
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import datetime
from pathlib import Path

from app.ingest.errors import EventsError

LOCK = "lock"


@contextmanager
def locked(directory: Path, what: str) -> Iterator[None]:
    """Make a directory where there is none, and hold it; `what` names it to people.

    Raises:
        EventsError: another process writes there (the message says which), or it cannot be made.
    """
    try:
        directory.mkdir(parents=True, exist_ok=True)
        lock = (directory / LOCK).open("a+")
    except OSError as error:
        raise EventsError(f"cannot write {what} {directory}: {error.strerror}") from error
    with lock:
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            lock.seek(0)
            holder = lock.read().strip()
            raise EventsError(f"{what} {directory} is being written by {holder}") from None
        lock.truncate(0)
        lock.write(f"process {os.getpid()} since {datetime.now().isoformat(' ', 'seconds')}\n")
        lock.flush()
        yield
