"""What is known of users and movies, in the store beside what they did; maybe nothing."""

import shutil
from pathlib import Path

FOLDER = "attributes"
#: Users: user_id, age, gender and more. Movies: movie_id, length and more.
ATTRIBUTES = ("users.parquet", "movies.parquet")


def copy_attributes(store: Path, out: Path, also: list[Path]) -> None:
    """Copy the tables of a store's attributes that are there to each of some directories."""
    for name in ATTRIBUTES:
        source = store / FOLDER / name
        if source.is_file():
            for directory in (out, *also):
                shutil.copyfile(source, directory / name)
