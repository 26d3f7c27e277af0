"""Read a file of events as the recent events of its users: `marquee recommend --recent`."""

import re
import time
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from math import floor
from pathlib import Path

import numpy as np
import polars as pl

from app import logs
from app.ingest import patterns
from app.ingest.batch_parser import parse_batch
from app.ingest.errors import IngestError
from app.ingest.line_reader import LineReader
from app.ingest.log_parser import RatingScale
from app.ingest.merge import merge_ratings, merge_watch_events
from app.ingest.schemas import RATING_EVENTS, WATCH_EVENTS, WATCHES, conform
from app.ingest.time_limits import TimeLimits
from app.ingest.training_tables import is_parquet, read_ratings, read_text_ratings
from app.recent_activity.log_events import event_times, to_stored_times
from app.recent_events import KeptMovies, RecentEvent, keep_last, newest_time, to_seconds
from app.training.interactions import Interactions, encode_interactions

#: What follows the user in a line of the log, damaged lines aside.
_LOG_LINE = re.compile(r",\s*(GET /|recommendation request )")
_DAY_SECONDS = 86_400
_log = logs.get(__name__)


@dataclass(frozen=True)
class UserEvents:
    """The events of one user when a recommendation is made.

    Attributes:
        kept: what the service keeps of the user's movies; the older ones are all others, also those
            that it does not keep.
        now: time of the recommendation, in seconds since 1970.
    """

    kept: KeptMovies
    now: float


@dataclass(frozen=True)
class RecentEvents:
    """The events of a file.

    Attributes:
        by_user: each user's movies, the newest first; those of one time by movie id.
        newest_time: time of the newest events, in seconds since 1970, as `marquee follow` has it.
        kept_movies: number of a user's last movies that the service keeps.
        retention_seconds: age up to which the service keeps events.
    """

    by_user: dict[int, list[RecentEvent]]
    newest_time: float
    kept_movies: int
    retention_seconds: float

    def get(self, user_id: int) -> UserEvents:
        """Return the events of a user as the service has them at the time of the newest events.

        Where the service has removed all of them by then: at the time of the user's newest event.
        """
        events = self.by_user.get(user_id, [])
        if not events:
            return UserEvents(KeptMovies([], []), self.newest_time)
        newest = events[0].time
        reference = self.newest_time
        if newest < reference - self.retention_seconds:
            reference = newest
        min_time = reference - self.retention_seconds
        kept = sum(event.time >= min_time for event in events[: self.kept_movies])
        return UserEvents(keep_last(events, kept), max(reference, newest))


def read_recent_events(
    path: Path,
    movie_ids: Sequence[str],
    scale: tuple[float, float],
    kept_movies: int,
    retention_seconds: float,
    times: TimeLimits | None = None,
) -> RecentEvents:
    """Read a log, or a table as `marquee import-ratings` takes; the content decides which it is.

    The order of lines has no effect, and a line that occurs twice counts once. Events without a
    time are as new as the newest. The file is read once, so that it may be a pipe.

    Args:
        path: the file; `-` for standard input.
        movie_ids: movie ids of the model; the index is the movie number.
        scale: lowest and highest rating.
        kept_movies: number of a user's last movies that the service keeps.
        retention_seconds: age up to which the service keeps events.
        times: limits of the possible times; None: the default limits.

    Raises:
        IngestError: the file cannot be read, or holds no event.
    """
    limits, ratings_scale = times or TimeLimits(), RatingScale(*scale)
    if is_parquet(path):
        events, seconds = _encode_ratings(read_ratings(path, ratings_scale, limits))
    else:
        with LineReader(str(path)) as reader:
            if any(map(_LOG_LINE.search, reader.peek_lines()[:1000])):
                events, seconds = _read_log(reader, ratings_scale, limits)
            else:
                ratings = read_text_ratings(reader, ratings_scale, limits)
                events, seconds = _encode_ratings(ratings)
    newest = newest_time(seconds)
    now = time.time() if newest is None else newest
    return RecentEvents(_group_by_user(events, movie_ids, now), now, kept_movies, retention_seconds)


def _encode_ratings(ratings: pl.DataFrame) -> tuple[Interactions, list[int]]:
    return encode_interactions(ratings, None), to_stored_times(ratings["time"])


def _read_log(
    reader: LineReader, scale: RatingScale, times: TimeLimits
) -> tuple[Interactions, list[int]]:
    """Return the events of a log, and the times of its lines."""
    possible, reasons, seconds = times.stream_range(), Counter[str](), list[int]()
    is_valid = patterns.is_movie_id(pl.col("movie_id"))  # `marquee follow` repairs no id either
    watches, ratings = [pl.DataFrame(schema=WATCH_EVENTS)], [pl.DataFrame(schema=RATING_EVENTS)]
    for lines in reader.read_lines():
        batch = parse_batch(lines, scale, possible)
        watches.append(batch.watches.filter(is_valid))
        ratings.append(batch.ratings.filter(is_valid))
        seconds += event_times(batch)
        reasons += batch.reasons
    if reasons:
        _log.warning("lines rejected", file=reader.name, reasons=dict(reasons))
    watched, rated = merge_watch_events(pl.concat(watches)), merge_ratings(ratings)
    if watched.is_empty() and rated.is_empty():
        raise IngestError(f"{reader.name}: no line is a watch or a rating")
    watched = watched.with_columns(pl.col("minutes").list.len())
    return encode_interactions(rated, conform(watched, WATCHES)), seconds


def _group_by_user(
    events: Interactions, movie_ids: Sequence[str], now: float
) -> dict[int, list[RecentEvent]]:
    """Return each user's events, with whole seconds as the service has them.

    Args:
        events: the events.
        movie_ids: movie ids of the model.
        now: time of events without one.
    """
    numbers = {movie_id: number for number, movie_id in enumerate(movie_ids)}
    newest = now if events.newest is None else to_seconds(events.newest)
    # The age in days is not exact.
    seconds = np.floor(np.round(newest - events.age_days * _DAY_SECONDS, 3))
    seconds[np.isnan(seconds)] = floor(now)
    columns = (
        events.users[events.user].tolist(),
        [numbers.get(events.movies[movie], -1) for movie in events.movie.tolist()],
        events.minutes.tolist(),
        events.rating.tolist(),
        seconds.tolist(),
    )
    by_user: dict[int, list[RecentEvent]] = {}
    rows = list(zip(*columns, strict=True))
    for index in np.lexsort((events.movie, -seconds)).tolist():
        user, movie, minutes, rating, event_time = rows[index]
        known_rating = None if np.isnan(rating) else rating
        by_user.setdefault(user, []).append(RecentEvent(movie, minutes, known_rating, event_time))
    return by_user
