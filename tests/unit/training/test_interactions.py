from typing import Any

import numpy as np
import pytest

from app.training.errors import TrainingError
from app.training.interactions import encode_interactions
from tests.unit.training.tables import NEWEST, events, ratings, watches


def test_ratings_and_watches_become_one_row_per_user_and_movie() -> None:
    found = encode_interactions(
        ratings((9, "b", 4, 1), (2, "a", 5, 0)), watches((9, "b", 30, 0.5), (9, "c", 7, 2))
    )
    assert found.users.tolist() == [2, 9]
    assert found.movies == ["a", "b", "c"]
    assert found.start.tolist() == [0, 1, 3]
    assert found.user.tolist() == [0, 1, 1]
    assert found.movie.tolist() == [0, 1, 2]
    np.testing.assert_array_equal(found.rating, np.array([5, 4, np.nan], np.float32))
    assert found.minutes.tolist() == [0, 30, 7]
    np.testing.assert_allclose(found.age_days, [0, 0.5, 2])
    assert found.newest == NEWEST


def test_the_newest_of_two_ratings_counts_and_one_without_time_is_the_oldest() -> None:
    rows = (1, "a", 3, 5), (1, "a", 4, 1), (1, "a", 2, None)
    for order in (rows, rows[::-1]):
        assert events(*order).rating.tolist() == [4]


def test_the_order_of_rows_changes_nothing() -> None:
    rows = [(5, "x", 1, 1), (3, "y", 2, 2), (3, "x", 3, None)]
    assert events(*rows).describe() == events(*rows[::-1]).describe()


@pytest.mark.parametrize("row", [(3, "y", 2.5, 2), (3, "y", 2, 3), (4, "y", 2, 2), (3, "z", 2, 2)])
def test_any_change_of_content_changes_the_hash(row: Any) -> None:
    before, after = (events((5, "x", 1, 1), last).describe() for last in ((3, "y", 2, 2), row))
    assert before["data_hash"] != after["data_hash"]


def test_without_times_there_is_no_newest_time() -> None:
    found = events((1, "a", 3, None))
    assert found.newest is None
    assert found.describe()["span_days"] is None


def test_large_user_ids_keep_their_digits() -> None:
    assert events((2**53 + 1, "a", 3, 0), (2**53, "a", 3, 0)).users.tolist() == [2**53, 2**53 + 1]


@pytest.mark.parametrize("rating", [float("nan"), float("inf")])
def test_a_rating_that_is_not_finite_is_an_error(rating: float) -> None:
    with pytest.raises(TrainingError, match="finite"):
        events((1, "a", rating, 0))


def test_a_missing_rating_is_an_error() -> None:
    table = ratings((1, "a", 3, 0)).with_columns(rating=None)
    with pytest.raises(TrainingError, match="finite"):
        encode_interactions(table, None)


@pytest.mark.parametrize("movie", ["", "a,b", "a b", "a\nb", "\x00"])
def test_a_movie_id_that_cannot_be_part_of_a_response_is_an_error(movie: str) -> None:
    with pytest.raises(TrainingError, match="not a movie id"):
        events((1, movie, 3, 0))


@pytest.mark.parametrize("column", ["user_id", "movie_id"])
def test_a_row_without_user_or_movie_is_an_error(column: str) -> None:
    with pytest.raises(TrainingError, match=column):
        encode_interactions(ratings((1, "a", 3, 0)).with_columns(**{column: None}), None)


def test_no_events_are_an_error() -> None:
    with pytest.raises(TrainingError, match="no events"):
        encode_interactions(ratings(), watches())
