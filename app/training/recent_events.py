"""Read a file of events as the recent events of its users: `marquee recommend --recent`."""

import re
import time
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import polars as pl

from app import logs
from app.ingest.batch_parser import parse_batch
from app.ingest.errors import IngestError
from app.ingest.line_reader import LineReader
from app.ingest.log_parser import RatingScale
from app.ingest.merge import merge_ratings, merge_watch_events
from app.ingest.schemas import RATING_EVENTS, WATCH_EVENTS, WATCHES, conform
from app.ingest.time_limits import TimeLimits
from app.ingest.training_tables import is_parquet, read_ratings
from app.recent_events import RecentEvent, to_seconds
from app.training.interactions import Interactions, encode_interactions
from app.training.replay import KEPT_MOVIES

__all__ = ["KEPT_MOVIES", "RecentEvents", "read_recent_events"]

#: What follows the user in a line of the log, damaged lines aside.
_LOG_LINE = re.compile(r",\s*(GET /|recommendation request )")
_DAY_SECONDS = 86_400
_log = logs.get(__name__)


@dataclass(frozen=True)
class RecentEvents:
    """The recent events of a file.

    Attributes:
        by_user: each user's movies, the newest first, at most as many as are kept.
        now: time of the newest event, in seconds since 1970.
    """

    by_user: dict[int, list[RecentEvent]]
    now: float


def read_recent_events(
    path: Path,
    movie_ids: Sequence[str],
    scale: tuple[float, float],
    kept_movies: int,
    times: TimeLimits | None = None,
) -> RecentEvents:
    """Read a log, or a table as `marquee import-ratings` takes; the content decides which it is.

    The order of lines has no effect, and a line that occurs twice counts once. Events without a
    time are as new as the newest.

    Args:
        path: the file.
        movie_ids: movie ids of the model; the index is the movie number.
        scale: lowest and highest rating.
        kept_movies: the last so many movies of a user are kept.
        times: limits of the possible times; None: the default limits.

    Raises:
        IngestError: the file cannot be read, or holds no event.
    """
    if not is_parquet(path) and _is_log(path):
        events = _read_log(path, RatingScale(*scale), times or TimeLimits())
    else:
        events = encode_interactions(read_ratings(path, RatingScale(*scale), times), None)
    now = time.time() if events.newest is None else to_seconds(events.newest)
    return RecentEvents(_group_by_user(events, movie_ids, now, kept_movies), now)


def _is_log(path: Path) -> bool:
    """Whether one of the first lines is one of a log."""
    with LineReader(str(path)) as reader:
        return any(_LOG_LINE.search(line) for line in next(reader.read_lines(), [])[:1000])


def _read_log(path: Path, scale: RatingScale, times: TimeLimits) -> Interactions:
    possible, reasons = times.stream_range(), Counter[str]()
    watches, ratings = [pl.DataFrame(schema=WATCH_EVENTS)], [pl.DataFrame(schema=RATING_EVENTS)]
    with LineReader(str(path)) as reader:
        for lines in reader.read_lines():
            batch = parse_batch(lines, scale, possible)
            watches.append(batch.watches)
            ratings.append(batch.ratings)
            reasons += batch.reasons
    if reasons:
        _log.warning("lines rejected", file=str(path), reasons=dict(reasons))
    watched, rated = merge_watch_events(pl.concat(watches)), merge_ratings(ratings)
    if watched.is_empty() and rated.is_empty():
        raise IngestError(f"{path}: no line is a watch or a rating")
    watched = watched.with_columns(pl.col("minutes").list.len())
    return encode_interactions(rated, conform(watched, WATCHES))


def _group_by_user(
    events: Interactions, movie_ids: Sequence[str], now: float, kept_movies: int
) -> dict[int, list[RecentEvent]]:
    numbers = {movie_id: number for number, movie_id in enumerate(movie_ids)}
    age_days = np.nan_to_num(events.age_days, nan=0)
    columns = (
        events.users[events.user].tolist(),
        [numbers.get(events.movies[movie], -1) for movie in events.movie.tolist()],
        events.minutes.tolist(),
        events.rating.tolist(),
        age_days.tolist(),
    )
    by_user: dict[int, list[RecentEvent]] = {}
    order = np.lexsort((events.movie, age_days))
    rows = list(zip(*columns, strict=True))
    for index in order.tolist():
        user, movie, minutes, rating, age = rows[index]
        kept = by_user.setdefault(user, [])
        if len(kept) < kept_movies:
            known_rating = None if np.isnan(rating) else rating
            kept.append(RecentEvent(movie, minutes, known_rating, now - age * _DAY_SECONDS))
    return by_user
