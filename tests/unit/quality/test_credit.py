"""Watches are credited to the last answer that held the movie, once for a user and movie."""

from datetime import datetime, timedelta

import polars as pl
import pytest

from app.quality.credit import ANSWERS, WATCHED, credit_unaided, credit_watches

T0 = datetime(2026, 11, 1, 12)
DAY = 86_400


def make_answers(*rows: tuple[int, int, float, list[int], list[int] | None]) -> pl.DataFrame:
    """Rows of answer, user, seconds, movies listed, and those that only the other list held."""
    content = [(a, u, T0 + timedelta(seconds=t), 1, m, o) for a, u, t, m, o in rows]
    return pl.DataFrame(content, schema=ANSWERS, orient="row")


def make_watched(*rows: tuple[int, int, float]) -> pl.DataFrame:
    """Rows of user, movie, seconds."""
    content = [(u, m, T0 + timedelta(seconds=t), 30, 120) for u, m, t in rows]
    return pl.DataFrame(content, schema=WATCHED, orient="row")


def credited_to(answers: pl.DataFrame, watched: pl.DataFrame) -> dict[tuple[int, int], int]:
    rows = credit_watches(answers, watched).select("user_id", "movie", "answer").iter_rows()
    return {(user, movie): answer for user, movie, answer in rows}


def test_the_last_answer_that_held_the_movie_is_credited() -> None:
    answers = make_answers((0, 1, 0, [5, 6], None), (1, 1, 60, [7, 5], None), (2, 1, 90, [8], None))
    credited = credit_watches(answers, make_watched((1, 5, 120)))
    assert credited.to_dicts() == [
        {
            "answer": 1,
            "user_id": 1,
            "movie": 5,
            "rank": 2,
            "delay": timedelta(seconds=60),
            "minutes": 30,
            "watched_share": 0.25,
        }
    ]


def test_of_two_answers_at_one_moment_the_later_row_is_credited() -> None:
    answers = make_answers((0, 1, 0, [5], None), (1, 1, 0, [5], None))
    assert credited_to(answers, make_watched((1, 5, 10))) == {(1, 5): 1}


@pytest.mark.parametrize(
    ("seconds", "is_credited"), [(-1, False), (0, True), (DAY, True), (DAY + 1, False)]
)
def test_only_answers_of_the_24_hours_before_a_watch_are_credited(
    seconds: float, is_credited: bool
) -> None:
    answers = make_answers((0, 1, 0, [5], None))
    assert bool(credited_to(answers, make_watched((1, 5, seconds)))) == is_credited


def test_watches_of_other_users_and_movies_are_not_credited() -> None:
    answers = make_answers((0, 1, 0, [5], None))
    assert credited_to(answers, make_watched((2, 5, 10), (1, 6, 10))) == {}


def test_an_answer_gets_all_watches_of_its_movies() -> None:
    answers = make_answers((0, 1, 0, [5, 6, 7], None))
    watched = make_watched((1, 5, 10), (1, 7, 20))
    assert credited_to(answers, watched) == {(1, 5): 0, (1, 7): 0}


def test_what_only_the_other_list_held_is_unaided_unless_an_answer_showed_it() -> None:
    answers = make_answers((0, 1, 0, [5], [6, 7]), (1, 1, 60, [7], [5]), (2, 2, 0, [5], None))
    watched = make_watched((1, 6, 120), (1, 7, 120), (2, 6, 120))
    unaided = credit_unaided(answers, watched, credit_watches(answers, watched))
    assert unaided.select("user_id", "movie", "answer").rows() == [(1, 6, 0)]
