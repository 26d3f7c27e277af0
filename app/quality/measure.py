"""Compute the online quality of two versions from their answers and what users watched."""

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl
import sqlalchemy as sa

from app.ingest.store_reader import StoreSnapshot, open_store
from app.quality.answers import AnswerReader, MovieNumbers
from app.quality.credit import (
    ANSWERS,
    CREDITED,
    HORIZONS,
    JUDGED_HORIZON,
    credit_unaided,
    credit_watches,
)
from app.quality.errors import QualityError
from app.quality.estimate import Difference, Outcomes, compare
from app.quality.other_lists import OtherLists
from app.quality.watched import read_newest, read_runtimes, read_watched
from app.settings import Settings

#: Ranks that are reported one by one.
_MAX_RANK = 20
_SIDES = ("candidate", "production")


@dataclass(frozen=True)
class Period:
    """Which answers count. Times are UTC without a zone.

    Attributes:
        start: of the answers that are compared.
        end: before which they were given.
        past: how long before the start a user's answers predict the later ones.
    """

    start: datetime
    end: datetime
    past: timedelta

    def contains(self) -> pl.Expr:
        """Whether an answer's `time` is in it."""
        return pl.col("time").is_between(self.start, self.end, closed="left")


@dataclass(frozen=True)
class Versions:
    """The versions that are compared; None: chosen by the number of answers.

    Without either, they are the two with the most answers, of which the newer one is the candidate.
    """

    candidate: int | None = None
    production: int | None = None

    def choose(self, answers: pl.DataFrame) -> tuple[int, int]:
        """Return candidate and production.

        Raises:
            QualityError: the answers are not of two versions.
        """
        found = answers["version"].value_counts(sort=True)["version"].to_list()
        if self.candidate is not None:
            others = [version for version in found if version != self.candidate]
            production = self.production if self.production is not None else next(iter(others), -1)
            pair = [self.candidate, production]
        else:
            pair = sorted(found[: len(_SIDES)], reverse=True)
        if missing := sorted(set(pair) - set(found)) or pair * (len(pair) < len(_SIDES)):
            answered = ", ".join(map(str, sorted(found))) or "none"
            asked = (
                f"version {missing[0]} has no answer; " if missing[0] not in (-1, *found) else ""
            )
            raise QualityError(
                f"{asked}answers of two versions are needed; in this time answered: {answered}"
            )
        return pair[0], pair[1]


def measure_quality(
    settings: Settings,
    engine: sa.Engine,
    period: Period,
    versions: Versions,
    find_models: Callable[[tuple[int, int]], dict[int, Path]] = lambda _: {},
) -> dict[str, Any]:
    """Compute what `marquee quality --json` prints.

    Args:
        settings: of the store and the log's time zone.
        engine: of the database of provenance.
        period: of the answers.
        versions: which are compared.
        find_models: returns the model directories of two versions, to make the lists of the other
            one; without them the placebo is unknown.

    Raises:
        MarqueeError: no answers of two versions, no watches, or a model or the store is damaged.
    """
    numbers = MovieNumbers()
    # Later answers are not compared, but what is watched after them is credited to them.
    last = period.end + max(HORIZONS.values())
    recorded = AnswerReader(engine, numbers).read(period.start - period.past, last)
    pair = versions.choose(recorded.filter(period.contains()))
    is_compared = period.contains() & pl.col("version").is_in(pair)
    other = OtherLists(engine, find_models(pair), numbers)
    now = recorded.filter(is_compared)
    now = now.with_columns(other.make(now, pair))
    others = recorded.filter(~is_compared)
    answers = pl.concat([others, now], how="diagonal").with_columns(
        unlisted=pl.col("other").list.set_difference("listed")
    )
    with open_store(settings.store_dir) as snapshot:
        newest = read_newest(snapshot, settings.stream_time_zone)
        if newest is None:
            raise QualityError("the store has no watches")
        credited, unaided = _credit(settings, snapshot, answers, numbers)
    measured = _Measured(answers, credited, unaided, period, pair)
    horizons = {name: measured.describe(horizon, newest) for name, horizon in HORIZONS.items()}
    if horizons[JUDGED_HORIZON] is None:
        raise QualityError(
            f"a version has no answer that is {JUDGED_HORIZON} older than the newest "
            f"watch ({newest.isoformat(timespec='seconds')} UTC)"
        )
    return {
        "candidate": pair[0],
        "production": pair[1],
        "start": period.start.isoformat(),
        "end": period.end.isoformat(),
        "watches_until": newest.isoformat(),
        "horizons": horizons,
    }


def _credit(
    settings: Settings, snapshot: StoreSnapshot, answers: pl.DataFrame, numbers: MovieNumbers
) -> tuple[pl.DataFrame, pl.DataFrame]:
    """Credit the watches of all users, bucket by bucket."""
    rows = answers.select(pl.col(name).cast(kind) for name, kind in ANSWERS.items())
    bucket = pl.col("user_id") % snapshot.manifest.buckets
    parts = rows.with_columns(bucket=bucket).partition_by("bucket", as_dict=True, include_key=False)
    start = answers["time"].min()
    credited, unaided = [pl.DataFrame(schema=CREDITED)], [pl.DataFrame(schema=CREDITED)]
    for number, watched in enumerate(_read_watched(settings, snapshot, numbers, start)):
        part = parts.get((number,))
        if part is None or watched.is_empty():
            continue
        credited.append(credit_watches(part, watched))
        unaided.append(credit_unaided(part, watched, credited[-1]))
    return pl.concat(credited), pl.concat(unaided)


def _read_watched(
    settings: Settings, snapshot: StoreSnapshot, numbers: MovieNumbers, start: Any
) -> Iterator[pl.DataFrame]:
    zone = settings.stream_time_zone
    return read_watched(snapshot, read_runtimes(settings), numbers, zone, start)


@dataclass(frozen=True)
class _Measured:
    answers: pl.DataFrame
    credited: pl.DataFrame
    unaided: pl.DataFrame
    period: Period
    pair: tuple[int, int]

    def describe(self, horizon: timedelta, newest: datetime) -> dict[str, Any] | None:
        """Describe one horizon: answers that are younger than it are left out.

        None where a version has no other.
        """
        old_enough = self.answers.filter(pl.col("time") <= newest - horizon)
        credited, unaided = (
            rows.filter(pl.col("delay") <= horizon) for rows in (self.credited, self.unaided)
        )
        per_answer = credited.group_by("answer").agg(
            takes=pl.len().cast(pl.Float64), minutes=pl.col("minutes").sum().cast(pl.Float64)
        )
        valued = old_enough.join(per_answer, on="answer", how="left").with_columns(
            pl.col("takes", "minutes").fill_null(0.0)
        )
        compared = valued.filter(self.period.contains() & pl.col("version").is_in(self.pair))
        by_side = {
            side: compared.filter(pl.col("version") == version)
            for side, version in zip(_SIDES, self.pair, strict=True)
        }
        if any(rows.is_empty() for rows in by_side.values()):
            return None
        past = valued.filter(pl.col("time") < self.period.start)
        return {
            "versions": {
                side: _describe_version(rows, credited, unaided) for side, rows in by_side.items()
            },
            **{
                value: _describe_difference(
                    compare(_to_outcomes(compared, past, value, self.pair[0]))
                )
                for value in ("takes", "minutes")
            },
        }


def _to_outcomes(
    compared: pl.DataFrame, past: pl.DataFrame, value: str, candidate: int
) -> Outcomes:
    users = compared.select(pl.col("user_id").unique().sort()).with_row_index("user")
    before = past.group_by("user_id").agg(sum=pl.col(value).sum(), count=pl.len())
    known = users.join(before, on="user_id", how="left").sort("user").fill_null(0)
    rows = compared.join(users, on="user_id")
    return Outcomes(
        rows["user"].to_numpy().astype(np.int64),
        rows["version"].to_numpy() == candidate,
        rows[value].to_numpy(),
        known["sum"].to_numpy().astype(float),
        known["count"].to_numpy().astype(float),
    )


def _describe_difference(found: Difference) -> dict[str, Any]:
    low, high = found.interval()
    return {
        "candidate": found.candidate,
        "production": found.production,
        "difference": found.difference,
        "standard_error": found.standard_error,
        "skewness": found.skewness,
        "interval": [low, high],
        "unpaired_difference": found.unpaired_difference,
        "unpaired_standard_error": found.unpaired_standard_error,
        "candidate_answers": found.candidate_answers,
        "production_answers": found.production_answers,
        "users": found.users,
        "users_of_both": found.users_of_both,
        "between_users": found.between_users,
    }


def _describe_version(
    answers: pl.DataFrame, credited: pl.DataFrame, unaided: pl.DataFrame
) -> dict[str, Any]:
    taken = credited.join(answers.select("answer", "other"), on="answer")
    count = answers.height
    by_rank = dict(taken.group_by("rank").len().sort("rank").iter_rows())
    known = answers.filter(pl.col("other").is_not_null())
    own = taken.filter(~pl.col("other").list.contains(pl.col("movie")))
    placebo = unaided.join(known.select("answer"), on="answer", how="semi")
    return {
        "answers": count,
        "takes": taken.height,
        "take_rate": taken.height / count,
        "minutes_per_answer": float(taken["minutes"].sum()) / count,
        "watched_share": taken["watched_share"].mean(),
        "take_rate_by_rank": [by_rank.get(rank, 0) / count for rank in range(1, _MAX_RANK + 1)],
        "answers_with_other_list": known.height,
        "own_take_rate": own.height / known.height if known.height else None,
        "unaided_rate": placebo.height / known.height if known.height else None,
    }
