"""Parse one line of the log (one Kafka message) to an event, or to the reason why it is invalid."""

import re
from datetime import datetime
from typing import Literal, NamedTuple

from app.ingest import patterns
from app.ingest.time_limits import ANY_TIME, TimeRange
from app.movie_ids import lower_escapes

Reason = Literal["fields", "time", "user", "request", "movie", "minute", "rating"]
#: Why a line is invalid, in the order of the checks.
REASONS: tuple[Reason, ...] = ("fields", "time", "user", "request", "movie", "minute", "rating")

_TIME = re.compile(patterns.TIME)
_USER_ID = re.compile(patterns.USER_ID)
_MOVIE_ID = re.compile(patterns.MOVIE_ID)
_MINUTE_FILE = re.compile(rf"({patterns.MINUTE})\.mpg")
_RATING = re.compile(patterns.RATING)
_RECOMMENDATION = re.compile(patterns.RECOMMENDATION, re.DOTALL)


class RatingScale(NamedTuple):
    """The rating scale; both ends are valid ratings."""

    min_rating: float = 1.0
    max_rating: float = 5.0


ONE_TO_FIVE = RatingScale()


class Watch(NamedTuple):
    """A user watched one minute of a movie."""

    time: datetime
    user_id: int
    movie_id: str
    minute: int


class Rating(NamedTuple):
    """A user rated a movie."""

    time: datetime
    user_id: int
    movie_id: str
    rating: int


class Recommendation(NamedTuple):
    """A recommendation request and its response; `movie_ids` is empty unless the status is 200."""

    time: datetime
    user_id: int
    status: int
    movie_ids: tuple[str, ...]
    response_ms: int


class Account(NamedTuple):
    """A user created an account."""

    time: datetime
    user_id: int


class InvalidLine(NamedTuple):
    """A line that is no event.

    Attributes:
        reason: the first check that failed.
        repairable_event: where only the movie id is wrong and removing one character makes it an
            id: the event with the id as received. `id_repair` may find the true id later.
    """

    reason: Reason
    repairable_event: Watch | Rating | None = None


Event = Watch | Rating | Recommendation | Account


def parse_line(
    line: str, scale: RatingScale = ONE_TO_FIVE, times: TimeRange = ANY_TIME
) -> Event | InvalidLine:
    """Parse a line without its line feed; a time outside `times` is invalid. Never raises."""
    parts = line.split(",", 2)
    if len(parts) != 3:  # noqa: PLR2004 - time, user, request
        return InvalidLine("fields")
    time = parse_time(parts[0])
    if time is None or not times.min_time <= time <= times.max_time:
        return InvalidLine("time")
    if not _USER_ID.fullmatch(parts[1]):
        return InvalidLine("user")
    return _parse_request(time, int(parts[1]), parts[2], scale)


def parse_time(text: str) -> datetime | None:
    """Parse an ISO time without a zone, cut to microseconds; None where there is no such time."""
    match = _TIME.fullmatch(text)
    if match is None:
        return None
    day, minute, second, fraction = match.groups()
    try:
        return datetime.fromisoformat(f"{day}T{minute}:{second or '00'}.{fraction or '0':0<6.6}")
    except ValueError:  # the 30th of February
        return None


def is_movie_id(text: str) -> bool:
    """Whether the text has the form of a movie id."""
    return len(text) <= patterns.MAX_MOVIE_ID_LENGTH and _MOVIE_ID.fullmatch(text) is not None


def is_repairable(text: str) -> bool:
    """Whether removing one character turns an invalid movie id into a valid one.

    That character is the first that does not match, or one of the two after it, since a `%` needs
    two hexadecimal digits. So a malicious line costs three checks, not one per character.
    """
    prefix = _MOVIE_ID.match(text)
    first = prefix.end() if prefix else 0
    return any(
        is_movie_id(text[:at] + text[at + 1 :]) for at in range(first, min(first + 3, len(text)))
    )


def _parse_request(
    time: datetime, user: int, request: str, scale: RatingScale
) -> Event | InvalidLine:
    if request.startswith(patterns.WATCH_PREFIX):
        return _parse_watch(time, user, request.removeprefix(patterns.WATCH_PREFIX))
    if request.startswith(patterns.RATE_PREFIX):
        return _parse_rating(time, user, request.removeprefix(patterns.RATE_PREFIX), scale)
    if request == patterns.ACCOUNT_REQUEST:
        return Account(time, user)
    return _parse_recommendation(time, user, request)


def _parse_watch(time: datetime, user: int, rest: str) -> Watch | InvalidLine:
    movie, slash, file = rest.rpartition("/")
    if not slash:
        movie, file = rest, ""
    movie = lower_escapes(movie)
    minute = _MINUTE_FILE.fullmatch(file)
    if is_movie_id(movie):
        return Watch(time, user, movie, int(minute[1])) if minute else InvalidLine("minute")
    if minute and is_repairable(movie):
        return InvalidLine("movie", Watch(time, user, movie, int(minute[1])))
    return InvalidLine("movie")


def _parse_rating(time: datetime, user: int, rest: str, scale: RatingScale) -> Rating | InvalidLine:
    movie, sign, text = rest.rpartition("=")
    if not sign:
        movie, text = rest, ""
    movie = lower_escapes(movie)
    rating = int(text) if _RATING.fullmatch(text) else None
    if rating is not None and not scale.min_rating <= rating <= scale.max_rating:
        rating = None
    if is_movie_id(movie):
        return InvalidLine("rating") if rating is None else Rating(time, user, movie, rating)
    if rating is not None and is_repairable(movie):
        return InvalidLine("movie", Rating(time, user, movie, rating))
    return InvalidLine("movie")


def _parse_recommendation(time: datetime, user: int, request: str) -> Recommendation | InvalidLine:
    match = _RECOMMENDATION.fullmatch(request)
    if match is None:
        return InvalidLine("request")
    movies: tuple[str, ...] = ()
    if int(match[2]) == 200:  # noqa: PLR2004 - otherwise an exception text
        movies = tuple(map(lower_escapes, match[3].split(", ")))
        if not all(map(is_movie_id, movies)):
            return InvalidLine("movie")
    return Recommendation(time, user, int(match[2]), movies, int(match[4]))
