"""The grammar of the log: one line of the Kafka stream to one event, or why it is none."""

import re
from datetime import datetime
from typing import Literal, NamedTuple

from app.ingest import patterns

Reason = Literal["fields", "time", "user", "request", "movie", "minute", "rating"]
#: Why a line is refused, in the order in which a line is examined.
REASONS: tuple[Reason, ...] = ("fields", "time", "user", "request", "movie", "minute", "rating")

_TIME = re.compile(patterns.TIME)
_USER = re.compile(patterns.USER)
_MOVIE = re.compile(patterns.MOVIE)
_MINUTE_FILE = re.compile(rf"({patterns.MINUTE})\.mpg")
_RATING = re.compile(patterns.RATING)
_RECOMMENDATION = re.compile(patterns.RECOMMENDATION, re.DOTALL)


class Scale(NamedTuple):
    """The rating scale, both ends included."""

    lowest: float = 1.0
    highest: float = 5.0


ONE_TO_FIVE = Scale()


class Watch(NamedTuple):
    """One minute of a movie, watched."""

    time: datetime
    user_id: int
    movie_id: str
    minute: int


class Rating(NamedTuple):
    """A movie, rated."""

    time: datetime
    user_id: int
    movie_id: str
    rating: int


class Recommendation(NamedTuple):
    """What the simulator was answered, and how long it waited; no movies unless status is 200."""

    time: datetime
    user_id: int
    status: int
    movie_ids: tuple[str, ...]
    response_ms: int


class Account(NamedTuple):
    """A user who joined."""

    time: datetime
    user_id: int


class Rejected(NamedTuple):
    """A line that is no event.

    Where nothing but the movie id is wrong, and one character less would make it an id,
    `suspect` is the event with the id as received: the true id may be found later (`repair`).
    """

    reason: Reason
    suspect: Watch | Rating | None = None


Event = Watch | Rating | Recommendation | Account


def parse_line(line: str, scale: Scale = ONE_TO_FIVE) -> Event | Rejected:
    """What a line, without its line feed, says. Never raises, whatever the line holds."""
    parts = line.split(",", 2)
    if len(parts) != 3:  # noqa: PLR2004 - time, user, request
        return Rejected("fields")
    time = parse_time(parts[0])
    if time is None:
        return Rejected("time")
    if not _USER.fullmatch(parts[1]):
        return Rejected("user")
    return _request(time, int(parts[1]), parts[2], scale)


def parse_time(text: str) -> datetime | None:
    """An ISO time without zone, to the microsecond; None when there is no such moment."""
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
    return len(text) <= patterns.MOVIE_LENGTH and _MOVIE.fullmatch(text) is not None


def may_be_repaired(text: str) -> bool:
    """Whether a text that is no movie id becomes one when one character is taken out.

    That character is the first that does not fit, or one of the two after it: a `%` waits for
    two hexadecimal digits. So a hostile line costs three looks, not one for each character.
    """
    fits = _MOVIE.match(text)
    first = fits.end() if fits else 0
    return any(
        is_movie_id(text[:at] + text[at + 1 :]) for at in range(first, min(first + 3, len(text)))
    )


def _request(time: datetime, user: int, request: str, scale: Scale) -> Event | Rejected:
    if request.startswith(patterns.WATCH_PREFIX):
        return _watch(time, user, request.removeprefix(patterns.WATCH_PREFIX))
    if request.startswith(patterns.RATE_PREFIX):
        return _rating(time, user, request.removeprefix(patterns.RATE_PREFIX), scale)
    if request == patterns.ACCOUNT_REQUEST:
        return Account(time, user)
    return _recommendation(time, user, request)


def _watch(time: datetime, user: int, rest: str) -> Watch | Rejected:
    movie, slash, file = rest.rpartition("/")
    if not slash:
        movie, file = rest, ""
    minute = _MINUTE_FILE.fullmatch(file)
    if is_movie_id(movie):
        return Watch(time, user, movie, int(minute[1])) if minute else Rejected("minute")
    if minute and may_be_repaired(movie):
        return Rejected("movie", Watch(time, user, movie, int(minute[1])))
    return Rejected("movie")


def _rating(time: datetime, user: int, rest: str, scale: Scale) -> Rating | Rejected:
    movie, sign, text = rest.rpartition("=")
    if not sign:
        movie, text = rest, ""
    rating = int(text) if _RATING.fullmatch(text) else None
    if rating is not None and not scale.lowest <= rating <= scale.highest:
        rating = None
    if is_movie_id(movie):
        return Rejected("rating") if rating is None else Rating(time, user, movie, rating)
    if rating is not None and may_be_repaired(movie):
        return Rejected("movie", Rating(time, user, movie, rating))
    return Rejected("movie")


def _recommendation(time: datetime, user: int, request: str) -> Recommendation | Rejected:
    match = _RECOMMENDATION.fullmatch(request)
    if match is None:
        return Rejected("request")
    movies: tuple[str, ...] = ()
    if int(match[2]) == 200:  # noqa: PLR2004 - otherwise the text of an exception stands there
        movies = tuple(match[3].split(", "))
        if not all(map(is_movie_id, movies)):
            return Rejected("movie")
    return Recommendation(time, user, int(match[2]), movies, int(match[4]))
