"""Fill files of recent activity, and read them back whole."""

import struct
import zlib
from collections.abc import Iterable, Mapping
from contextlib import closing
from math import isnan
from pathlib import Path
from typing import Any

from app.recent_activity.reader import Lookup, RecentActivityReader
from app.recent_activity.table_format import (
    BUCKETS_OFFSET,
    EMPTY,
    MAGIC,
    NO_MINUTE,
    PAGE_BYTES,
    TABLE_NAME,
    NewEvents,
    StoredEvent,
    StoredMovies,
    TableError,
    TableLayout,
    read_layout,
    read_state,
)
from app.recent_activity.table_writer import TableWriter, create_table, open_table

NAN = float("nan")
#: A time of the log, in seconds since 1970.
NOW = 1_700_000_000


def watched(movie: int, minutes: int = 1, time: int = NOW, rating: float = NAN) -> NewEvents:
    """The first minutes of a movie, or only a rating where `minutes` is 0."""
    first, last = (0, minutes - 1) if minutes else (NO_MINUTE, NO_MINUTE)
    return NewEvents(movie, time, minutes, max(0, minutes - 1), first, last, rating)


def make_table(
    directory: Path, movies: int = 4, older_movies: int = 3, max_users: int = 100
) -> TableWriter:
    """Make an empty file for so many movies and users, and open it."""
    directory.mkdir(parents=True, exist_ok=True)
    layout = TableLayout.create(movies, older_movies, max_users)
    create_table(directory, layout, lambda _: {})
    return open_table(directory)


def add_users(table: TableWriter, user_ids: Iterable[int], time: int = NOW) -> None:
    """Add a movie for each user, whose id names the user, and commit."""
    for user_id in user_ids:
        table.add(user_id, [watched(table.number_movie(f"of+{user_id}"), time=time)])
    table.commit()


def read_table(directory: Path) -> tuple[dict[int, list[tuple[Any, ...]]], Mapping[str, Any]]:
    """Return the events of all users, with movie ids, and the positions."""
    with closing(open_table(directory)) as table:
        return describe_users(table), table.state.offsets


def read_positions(directory: Path) -> dict[str, Any]:
    """Return the positions of the last commit, also while a follower writes; {} without a file."""
    try:
        with (directory / TABLE_NAME).open("rb") as file:
            return read_state(file.fileno(), read_layout(file.fileno())).offsets
    except (FileNotFoundError, TableError):
        return {}


def get_events(directory: Path, user_id: int) -> Lookup:
    """Look a user up with a new reader."""
    reader = RecentActivityReader(directory)
    try:
        return reader.get(user_id)
    finally:
        reader.close()


def describe_users(table: TableWriter) -> dict[int, list[tuple[Any, ...]]]:
    """Return the movies of all users: events with movie ids and None for no rating, then (id,)."""
    movie_ids = table.movie_ids
    return {user_id: _describe(movies, movie_ids) for user_id, movies in table.read_users()}


def _describe(movies: StoredMovies, movie_ids: list[str]) -> list[tuple[Any, ...]]:
    events = [_describe_event(event, movie_ids) for event in movies.events]
    return events + [(movie_ids[movie],) for movie in movies.older]


def _describe_event(event: StoredEvent, movie_ids: list[str]) -> tuple[Any, ...]:
    rating = None if isnan(event.rating) else event.rating
    return (movie_ids[event.movie], *event[1:-1], rating)


def overwrite_page(directory: Path, page: int, data: bytes) -> None:
    """Overwrite bytes of the file from the beginning of a page on."""
    with (directory / TABLE_NAME).open("r+b") as file:
        file.seek(page * PAGE_BYTES)
        file.write(data)


def make_earlier_format(directory: Path) -> None:
    """Replace the first page of the file by that of a file of format 1, without older movies."""
    with (directory / TABLE_NAME).open("rb") as file:
        layout = read_layout(file.fileno())
    sizes = (layout.movies_per_user, layout.users_per_bucket, layout.buckets)
    packed = struct.pack("<8sIQHHII", MAGIC, 1, layout.file_id, *sizes, layout.names_offset >> 12)
    page = packed + zlib.crc32(packed).to_bytes(4, "little")
    overwrite_page(directory, 0, page.ljust(PAGE_BYTES, b"\0"))


def find_page(directory: Path, user_id: int) -> int:
    """Return the page of the file that holds a user."""
    content = (directory / TABLE_NAME).read_bytes()
    with (directory / TABLE_NAME).open("rb") as file:
        layout = read_layout(file.fileno())
    for bucket in layout.find_buckets(user_id):
        start = layout.bucket_offset(bucket)
        user_ids = layout.unpack_directory(content[start : start + PAGE_BYTES], bucket)
        if user_ids and user_id in user_ids and user_id != EMPTY:
            return BUCKETS_OFFSET // PAGE_BYTES + bucket
    raise LookupError(user_id)
