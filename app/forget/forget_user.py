"""Remove what is stored of one user, everywhere where it can be changed."""

from contextlib import ExitStack

from app.ingest.store_files import read_manifest
from app.ingest.store_writer import open_writer
from app.ingest.user_removal import remove_metadata, remove_user
from app.provenance.database import connect, translate_errors
from app.provenance.user_removal import anonymize_spool, delete_records, has_database, lock_spool
from app.recent_activity import removal
from app.settings import Settings
from app.telemetry.exports import ExportDirectory

_PLACES = ("watches", "ratings", "metadata", "spool_records", "records", "exported")


def forget_user(settings: Settings, user: int) -> dict[str, int]:
    """Remove a user from store, spool, database, exports and recent activity.

    Nothing is changed unless all locks are free. What does not exist (a store, a spool, a database
    of SQLite, a file of recent activity) is left out. A follower of recent activity may be running:
    it is asked to remove the user.

    Returns:
        The number of rows and records that were removed, by place. Recent activity is not counted:
        its events are those of the store.

    Raises:
        MarqueeError: another process has the store, the spool or the exports, the store is damaged,
            the database is unreachable or refuses, or the follower has not removed the user in
            time.
    """
    removed = dict.fromkeys(_PLACES, 0)
    with ExitStack() as stack:
        writer = None
        if read_manifest(settings.store_dir) is not None:
            writer = stack.enter_context(open_writer(settings.store_dir))
        if settings.spool_dir.is_dir():
            stack.enter_context(lock_spool(settings.spool_dir))
        exports = ExportDirectory(settings.export_dir)
        if exports.path.is_dir():
            stack.enter_context(exports.lock())
        if writer:
            removed |= remove_user(writer, user)
            removed["metadata"] = remove_metadata(settings.store_dir, user)
        if settings.spool_dir.is_dir():
            removed["spool_records"] = anonymize_spool(settings.spool_dir, user)
        if has_database(settings):
            with translate_errors():
                removed["records"] = delete_records(connect(settings), user)
        removed["exported"] = exports.remove_user(user)
        # After the store, from which a new file would be filled.
        removal.remove_user(settings.recent_dir, user)
    return removed
