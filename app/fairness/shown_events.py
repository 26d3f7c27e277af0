"""Which events followed our own answers: movies that a user watched after an answer showed them."""

from collections import Counter
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from typing import Any, NamedTuple
from zoneinfo import ZoneInfo

import numpy as np
import polars as pl
import sqlalchemy as sa

from app.model.recommendation_lists import movie_number_dtype
from app.provenance.catalogues import Catalogues
from app.provenance.tables import reccom

_ROWS_READ = 10_000


class Answer(NamedTuple):
    """A recorded answer.

    Attributes:
        user_id: who got it.
        time: when, by the clock of the log, without a zone.
        version: version number of the model.
        movie_ids: the shown movies.
    """

    user_id: int
    time: datetime
    version: int
    movie_ids: list[str]


def read_answers(engine: sa.Engine, zone: str) -> Iterator[Answer]:
    """Yield the recorded answers in any order, without those whose movies are not known.

    Args:
        engine: of the database of provenance.
        zone: time zone of the log's clock; empty: UTC.
    """
    columns = (reccom.c.user_id, reccom.c.answered_at_us, reccom.c.version_number,
               reccom.c.build_id, reccom.c.movie_numbers)  # fmt: skip
    clock = ZoneInfo(zone or "UTC")
    catalogues = Catalogues(engine)
    records = sa.select(*columns).execution_options(yield_per=_ROWS_READ)
    with engine.connect() as connection:
        for user, time_us, version, build_id, numbers in connection.execute(records):
            ids = catalogues.get_movie_ids(build_id, version)
            if ids is not None:
                shown = np.frombuffer(numbers, movie_number_dtype(len(ids)))
                moment = datetime.fromtimestamp(time_us / 1e6, UTC).astimezone(clock)
                movies = [ids[number] for number in shown.tolist()]
                yield Answer(user, moment.replace(tzinfo=None), version, movies)


def count_shown(
    answers: Iterator[Answer], events: pl.DataFrame, window: timedelta
) -> dict[str, Any]:
    """Count the events whose movie an answer had shown to the user shortly before.

    Args:
        answers: the recorded answers.
        events: user_id, movie_id, time; one row for each user and movie.
        window: how long after an answer an event counts as shown by it.

    Returns:
        `events`: those between the first answer and `window` after the last one; `shown`: how many
        of them an answer had shown; `share`; `by_version`: shown events by the version of the
        latest such answer. What users would have watched anyway is among them.
    """
    times: dict[int, dict[str, datetime]] = {}
    for user, movie, time in events.select("user_id", "movie_id", "time").drop_nulls().iter_rows():
        times.setdefault(user, {})[movie] = time
    latest: dict[tuple[int, str], tuple[datetime, int]] = {}
    first = last = None
    for answer in answers:
        first = answer.time if first is None else min(first, answer.time)
        last = answer.time if last is None else max(last, answer.time)
        own = times.get(answer.user_id, {})
        for movie in own.keys() & set(answer.movie_ids):
            found = (answer.time, answer.version)
            if answer.time <= own[movie] <= answer.time + window:
                key = (answer.user_id, movie)
                latest[key] = max(latest.get(key, found), found)
    if first is None or last is None:
        return {"events": 0, "shown": 0, "share": None, "by_version": {}}
    total = events.filter(pl.col("time").is_between(first, last + window)).height
    by_version = Counter(version for _, version in latest.values())
    return {
        "events": total,
        "shown": len(latest),
        "share": len(latest) / total if total else None,
        "by_version": {str(version): by_version[version] for version in sorted(by_version)},
    }


def join_events(watches: pl.DataFrame | None, ratings: pl.DataFrame | None) -> pl.DataFrame:
    """Return user_id, movie_id and the time of the first event of each pair.

    Args:
        watches: user_id, movie_id, first_time.
        ratings: user_id, movie_id, time; only the newest rating of a pair is stored.
    """
    parts = [
        table.select("user_id", "movie_id", pl.col(column).alias("time"))
        for table, column in ((watches, "first_time"), (ratings, "time"))
        if table is not None
    ]
    return pl.concat(parts).group_by("user_id", "movie_id").agg(pl.col("time").min())
