"""A user's recent events, as the file of recent activity has them and as models rank by them."""

from datetime import UTC, datetime
from typing import NamedTuple

#: Number of a movie that the model does not have.
UNKNOWN_MOVIE = -1


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


def to_seconds(time: datetime) -> float:
    """Return the seconds since 1970 of a time without a zone, which counts as UTC."""
    return time.replace(tzinfo=UTC).timestamp()
