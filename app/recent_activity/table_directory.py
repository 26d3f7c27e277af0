"""Open the current file of a directory, or make it: from the event store, or from an older file."""

from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any, NamedTuple

from app import logs
from app.recent_activity.table_format import (
    Problem,
    StoredMovies,
    TableError,
    TableLayout,
    drop_expired,
)
from app.recent_activity.table_writer import TableWriter, create_table, open_table
from app.settings import RecentActivitySettings

_SECONDS_PER_DAY = 86_400
_log = logs.get(__name__)


class TableLimits(NamedTuple):
    """What a file is made for: last and older movies of a user, days of events, number of users."""

    movies: int
    older_movies: int
    days: int
    max_users: int

    @classmethod
    def from_settings(cls, settings: RecentActivitySettings) -> "TableLimits":
        """Read `recent_movies`, `recent_older_movies`, `recent_days` and `recent_max_users`."""
        return cls(
            settings.recent_movies,
            settings.recent_older_movies,
            settings.recent_days,
            settings.recent_max_users,
        )

    def make_layout(self) -> TableLayout:
        """Return the layout of a new file."""
        return TableLayout.create(self.movies, self.older_movies, self.max_users)

    def is_met_by(self, layout: TableLayout) -> bool:
        """Return whether a new file would have the sizes of this one."""
        return layout.is_for(self.movies, self.older_movies, self.max_users)

    @property
    def retention_seconds(self) -> int:
        """The days in seconds."""
        return self.days * _SECONDS_PER_DAY


#: Adds the first events to a new file; returns the positions of the stream after them.
Fill = Callable[[TableWriter], Mapping[str, Any]]


@contextmanager
def open_current_table(
    directory: Path, limits: TableLimits, fill: Fill, on_refused: Callable[[Problem], None]
) -> Iterator[TableWriter]:
    """Open the file of a directory whose lock is held.

    A file that is missing, damaged or of another format is filled again, from the event store; one
    with other limits, or with too many movie ids, is copied.

    Raises:
        OSError: a file cannot be read or written.
        IngestError: the event store is damaged.
    """
    try:
        table = open_table(directory)
    except TableError as error:
        if error.problem != "absent":
            on_refused(error.problem)
            _log.error("file of recent activity refused", reason=str(error))
        _create(directory, limits, fill)
        table = open_table(directory)
    if not limits.is_met_by(table.layout) or table.is_numbering_full:
        _log.info("copying the file of recent activity", **limits._asdict())
        try:
            table.retention_seconds = limits.retention_seconds
            _create(directory, limits, lambda new: copy_users(table, new))
        finally:
            table.close()
        table = open_table(directory)
    table.retention_seconds = limits.retention_seconds
    try:
        yield table
    finally:
        table.close()


def _create(directory: Path, limits: TableLimits, fill: Fill) -> None:
    def fill_new(table: TableWriter) -> Mapping[str, Any]:
        table.retention_seconds = limits.retention_seconds
        offsets = fill(table)
        _log.info("file of recent activity created", users=table.users, offsets=offsets)
        return offsets

    create_table(directory, limits.make_layout(), fill_new)


def copy_users(old: TableWriter, new: TableWriter) -> Mapping[str, Any]:
    """Copy all users who have not expired; return the positions.

    Movies are numbered anew: ids that no user has are left out.
    """
    movie_ids = old.movie_ids
    new.advance_time(old.state.newest_time)
    for user_id, movies in old.read_users():
        kept = new.layout.limit(*drop_expired(movies, new.min_time))
        new.put(user_id, _renumber(kept, movie_ids, new))
    return old.state.offsets


def _renumber(movies: StoredMovies, movie_ids: list[str], table: TableWriter) -> StoredMovies:
    def renumber(number: int) -> int:
        return table.number_movie(movie_ids[number])

    events = [event._replace(movie=renumber(event.movie)) for event in movies.events]
    return StoredMovies(events, [renumber(number) for number in movies.older])
