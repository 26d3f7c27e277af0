"""Merging does not depend on order, grouping or repetition."""

from datetime import datetime, timedelta
from functools import reduce

import polars as pl
from hypothesis import given, settings
from hypothesis import strategies as st

from app.ingest.merge import merge_ratings, merge_watch_events, merge_watches
from app.ingest.schemas import RATING_EVENTS, WATCH_EVENTS

START = datetime(2022, 11, 14)
users = st.integers(1, 3)
movies = st.sampled_from(["up+2009", "alien+1979"])
times = st.integers(0, 5).map(lambda s: START + timedelta(seconds=s))
watch_rows = st.lists(st.tuples(users, movies, st.integers(0, 4), times), max_size=30)
ratings = st.sampled_from([0.5, 3.0, 4.0, 5.0])
rating_rows = st.lists(st.tuples(users, movies, ratings, times | st.none()), max_size=30)


def watch_events(rows: list[tuple[int, str, int, datetime]]) -> pl.DataFrame:
    return pl.DataFrame(rows, schema=WATCH_EVENTS, orient="row")


def rating_events(rows: list[tuple[int, str, float, datetime | None]]) -> pl.DataFrame:
    return pl.DataFrame(rows, schema=RATING_EVENTS, orient="row")


@settings(deadline=None)
@given(watch_rows, st.data())
def test_watches_merge_alike_in_any_order_and_batches(
    rows: list[tuple[int, str, int, datetime]], data: st.DataObject
) -> None:
    expected = merge_watch_events(watch_events(rows))
    again = data.draw(st.permutations(rows + rows[:5]))
    cut = data.draw(st.integers(0, len(again)))
    parts = [merge_watch_events(watch_events(part)) for part in (again[:cut], again[cut:], rows)]
    assert merge_watches(parts).equals(expected)
    assert reduce(lambda one, two: merge_watches([one, two]), parts).equals(expected)


@settings(deadline=None)
@given(rating_rows, st.data())
def test_ratings_merge_alike_in_any_order_and_batches(
    rows: list[tuple[int, str, float, datetime | None]], data: st.DataObject
) -> None:
    expected = merge_ratings([rating_events(rows)])
    again = data.draw(st.permutations(rows + rows[:5]))
    cut = data.draw(st.integers(0, len(again)))
    parts = [merge_ratings([rating_events(part)]) for part in (again[:cut], again[cut:], rows)]
    assert merge_ratings(parts).equals(expected)
    assert reduce(lambda one, two: merge_ratings([one, two]), parts).equals(expected)


@settings(deadline=None)
@given(watch_rows)
def test_merged_watches_equal_a_plain_loop(rows: list[tuple[int, str, int, datetime]]) -> None:
    expected = []
    for user, movie in sorted({(row[0], row[1]) for row in rows}):
        events = [row for row in rows if row[:2] == (user, movie)]
        times = [row[3] for row in events]
        minutes = sorted({row[2] for row in events})
        expected.append((user, movie, minutes, min(times), max(times)))
    assert merge_watch_events(watch_events(rows)).rows() == expected


def test_the_newest_then_highest_rating_is_kept_and_one_without_time_is_oldest() -> None:
    later = START + timedelta(days=1)
    rows = [
        (1, "newest+2000", 2.0, later),
        (1, "newest+2000", 5.0, START),
        (2, "tie+2000", 3.0, START),
        (2, "tie+2000", 4.0, START),
        (3, "one+time+2000", 5.0, None),
        (3, "one+time+2000", 1.0, START),
        (4, "no+time+2000", 1.0, None),
        (4, "no+time+2000", 2.0, None),
    ]
    merged = merge_ratings([rating_events(rows)])
    assert merged["rating"].to_list() == [2.0, 4.0, 1.0, 2.0]
