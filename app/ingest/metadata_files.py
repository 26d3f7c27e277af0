"""Where a store keeps the metadata of users and movies, if there is any.

A module of its own, because the code that only copies these files must not import HTTP libraries.
"""

import shutil
from pathlib import Path

#: Subdirectory of the store, with a lock of its own.
METADATA_DIR = "metadata"
USERS_FILE = "users.parquet"
MOVIES_FILE = "movies.parquet"
METADATA_FILES = (USERS_FILE, MOVIES_FILE)


def copy_metadata(store: Path, *targets: Path) -> None:
    """Copy the existing metadata files of a store to each of the target directories."""
    for name in METADATA_FILES:
        source = store / METADATA_DIR / name
        if source.is_file():
            for target in targets:
                shutil.copyfile(source, target / name)
