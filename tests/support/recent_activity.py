"""Fill files of recent activity, and read them back whole."""

from collections.abc import Iterable, Mapping
from contextlib import closing
from math import isnan
from pathlib import Path
from typing import Any

from app.recent_activity.reader import Lookup, RecentActivityReader
from app.recent_activity.table_format import (
    BUCKETS_OFFSET,
    EMPTY,
    NO_MINUTE,
    PAGE_BYTES,
    TABLE_NAME,
    NewEvents,
    StoredEvent,
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


def make_table(directory: Path, movies: int = 4, max_users: int = 100) -> TableWriter:
    """Make an empty file for so many movies and users, and open it."""
    directory.mkdir(parents=True, exist_ok=True)
    create_table(directory, TableLayout.create(movies, max_users), lambda _: {})
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
    """Return the events of all users, with movie ids and None for no rating."""
    movie_ids = table.movie_ids
    return {
        user_id: [_describe(event, movie_ids) for event in events]
        for user_id, events in table.read_users()
    }


def _describe(event: StoredEvent, movie_ids: list[str]) -> tuple[Any, ...]:
    rating = None if isnan(event.rating) else event.rating
    return (movie_ids[event.movie], *event[1:-1], rating)


def overwrite_page(directory: Path, page: int, data: bytes) -> None:
    """Overwrite bytes of the file from the beginning of a page on."""
    with (directory / TABLE_NAME).open("r+b") as file:
        file.seek(page * PAGE_BYTES)
        file.write(data)


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
