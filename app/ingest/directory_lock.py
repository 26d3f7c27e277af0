"""One writer of a directory at a time."""

from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path

from app.ingest.errors import EventsError
from app.locks import LockHeldError, exclusive_lock

LOCK = "lock"


@contextmanager
def locked(directory: Path, what: str) -> Iterator[None]:
    """Make a directory where there is none, and lock it; `what` names it in errors.

    Raises:
        EventsError: another process writes there (the message says which), or it cannot be made.
    """
    with ExitStack() as stack:
        try:
            directory.mkdir(parents=True, exist_ok=True)
            stack.enter_context(exclusive_lock(directory / LOCK))
        except LockHeldError as error:
            raise EventsError(f"{what} {directory} is being written by {error.owner}") from error
        except OSError as error:
            raise EventsError(f"cannot write {what} {directory}: {error.strerror}") from error
        yield
