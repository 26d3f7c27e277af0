"""Remove one user from an event store and its metadata."""

from pathlib import Path

from app.ingest.metadata.parse import USERS
from app.ingest.metadata.table import MetadataTable
from app.ingest.metadata_files import METADATA_DIR, USERS_FILE
from app.ingest.store_files import TABLES, lock_directory
from app.ingest.store_writer import StoreWriter


def remove_user(writer: StoreWriter, user: int) -> dict[str, int]:
    """Remove a user's rows from both tables; return their numbers by table.

    A table is one file afterwards: the files that held the rows are removed.
    """
    return {table: writer.drop_user(table, user) for table in TABLES}


def remove_metadata(store: Path, user: int) -> int:
    """Remove a user's row of metadata; return the number of rows (0 or 1).

    Unfinished files that a killed process has left are removed: they may have the user.

    Raises:
        IngestError: another process writes the metadata, or the file is damaged.
    """
    directory = store / METADATA_DIR
    if not directory.is_dir():
        return 0
    with lock_directory(directory, "the metadata"):
        for unfinished in directory.glob(f".{USERS_FILE}.*"):
            unfinished.unlink()
        if not (directory / USERS_FILE).exists():
            return 0
        return MetadataTable(directory / USERS_FILE, USERS).remove(user)
