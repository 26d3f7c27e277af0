"""A user's recent events, as the file of recent activity has them and as models rank by them."""

from collections.abc import Iterable, Sequence
from datetime import UTC, datetime
from heapq import nlargest
from typing import NamedTuple

#: Number of a movie that the model does not have.
UNKNOWN_MOVIE = -1
#: A user's last movies that the service keeps with all that an effect depends on, unless set
#: otherwise, and the movies before them of which it keeps the numbers, to leave them out of lists.
KEPT_MOVIES, OLDER_MOVIES = 16, 34
#: Events of a batch whose median is the time of its newest events.
_NEWEST_EVENTS = 101


class RecentEvent(NamedTuple):
    """A movie that a user watched or rated.

    Attributes:
        movie: the model's number of the movie, or `UNKNOWN_MOVIE`.
        minutes: number of different minutes watched; 0: only rated.
        rating: the newest rating; None without one.
        time: time of the newest event, in seconds since 1970; the log's local time counts as UTC.
    """

    movie: int
    minutes: int
    rating: float | None
    time: float


class KeptMovies(NamedTuple):
    """What the service keeps of a user's movies.

    Attributes:
        events: the last ones, newest first: they affect a list and are left out of it.
        older: movie numbers of those before them, which are only left out.
    """

    events: Sequence[RecentEvent]
    older: list[int]


def keep_last(
    events: Sequence[RecentEvent], movies: int = KEPT_MOVIES, older_movies: int | None = None
) -> KeptMovies:
    """Return what the service keeps of a user's movies.

    Args:
        events: each movie once, newest first.
        movies: number of events to keep.
        older_movies: number of movies before them of which the numbers are kept; None: all.
    """
    end = None if older_movies is None else movies + older_movies
    older = [event.movie for event in events[movies:end] if event.movie != UNKNOWN_MOVIE]
    return KeptMovies(events[:movies], older)


def to_seconds(time: datetime) -> float:
    """Return the seconds since 1970 of a time without a zone, which counts as UTC."""
    return time.replace(tzinfo=UTC).timestamp()


def newest_time(times: Iterable[float]) -> float | None:
    """Return the time of the newest events: the median of the newest 101; None without times.

    The newest time itself would be that of a corrupted line, if there is one.
    """
    newest = nlargest(_NEWEST_EVENTS, times)
    return newest[(len(newest) - 1) // 2] if newest else None
