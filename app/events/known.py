"""What is known of users and films, in the store beside what they did; maybe nothing."""

import shutil
from pathlib import Path

FOLDER = "attributes"
#: Users: user_id, age, gender and more. Films: movie_id, length and more.
ATTRIBUTES = ("users.parquet", "films.parquet")


def copy_attributes(store: Path, out: Path, also: list[Path]) -> None:
    """Copy the tables of a store's attributes that are there to each of some directories."""
    for name in ATTRIBUTES:
        source = store / FOLDER / name
        if source.is_file():
            for directory in (out, *also):
                shutil.copyfile(source, directory / name)
