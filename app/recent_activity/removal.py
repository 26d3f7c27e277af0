"""Remove one user from the file, also while `marquee follow` writes it.

The writer of the file removes the user. Where another process is the writer, a file in `removals/`
asks it to; the writer deletes that file when the user is removed from the disk.
"""

import time
from pathlib import Path

from app.ingest.store_files import LOCK_NAME
from app.locks import LockHeldError, exclusive_lock
from app.recent_activity.errors import RecentActivityError
from app.recent_activity.journal import JOURNAL_NAME
from app.recent_activity.table_format import TABLE_NAME, TableError
from app.recent_activity.table_writer import REFUSED_NAME, TableWriter, open_table

_REQUESTS = "removals"
_POLL_INTERVAL_SECONDS = 0.1


def remove_user(directory: Path, user_id: int, timeout_seconds: float = 30.0) -> None:
    """Remove a user from the file, its journal and a refused file, if there are any.

    Events of the user that the follower reads afterwards are stored again: call it when the stream
    has no more of them, and after removing them from the event store.

    Args:
        directory: `recent_dir`.
        user_id: the user.
        timeout_seconds: how long to wait for a follower that writes the file.

    Raises:
        RecentActivityError: the follower did not remove the user in time.
        OSError: the file cannot be written.
    """
    if not directory.is_dir():
        return
    request = directory / _REQUESTS / str(user_id)
    deadline = time.monotonic() + timeout_seconds
    while True:
        try:
            with exclusive_lock(directory / LOCK_NAME):
                _remove_now(directory, user_id)
                request.unlink(missing_ok=True)
                return
        except LockHeldError as error:
            if time.monotonic() >= deadline:
                raise RecentActivityError(
                    f"user {user_id} was not removed from {directory} in {timeout_seconds:g} s by "
                    f"{error.owner}, which writes it; it is still asked to"
                ) from error
        request.parent.mkdir(exist_ok=True)
        request.touch()
        while request.exists() and time.monotonic() < deadline:
            time.sleep(_POLL_INTERVAL_SECONDS)
        if not request.exists():
            return


def remove_requested_users(directory: Path, table: TableWriter) -> int:
    """Remove the users that `remove_user` asked for; return how many had events.

    The table must have no uncommitted changes.
    """
    requests = [path for path in (directory / _REQUESTS).glob("*") if path.name.isdigit()]
    if not requests:
        return 0
    removed = sum(table.remove(int(path.name)) for path in requests)
    table.commit()
    table.checkpoint(erase=True)
    (directory / REFUSED_NAME).unlink(missing_ok=True)
    for path in requests:
        path.unlink()
    return removed


def _remove_now(directory: Path, user_id: int) -> None:
    (directory / REFUSED_NAME).unlink(missing_ok=True)
    try:
        table = open_table(directory)
    except TableError:
        # What cannot be read cannot be changed; the follower fills it again.
        (directory / TABLE_NAME).unlink(missing_ok=True)
        (directory / JOURNAL_NAME).unlink(missing_ok=True)
        return
    try:
        if table.remove(user_id):
            table.commit()
        table.checkpoint(erase=True)
    finally:
        table.close()
