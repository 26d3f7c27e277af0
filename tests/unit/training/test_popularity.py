import numpy as np
import pytest

from app.training.interactions import number_events
from app.training.params import EventParams, Params, PopularityParams
from app.training.ranking.confidence import strength_matrix, strengths
from app.training.ranking.popularity import (
    HALF_LIVES,
    half_life,
    most_popular_first,
    popularity,
    settled,
)
from tests.unit.training.tables import events, ratings, watches


def test_an_event_counts_half_after_the_half_life() -> None:
    found = popularity(
        events((1, "a", 3, 0), (2, "b", 3, 10), (3, "b", 3, 20)),
        PopularityParams(half_life_days=10),
    )
    np.testing.assert_allclose(found, [1, 0.75])


def test_an_event_without_time_counts_as_the_oldest() -> None:
    found = popularity(
        events((1, "a", 3, 0), (2, "b", 3, 10), (3, "c", 3, None)),
        PopularityParams(half_life_days=10),
    )
    np.testing.assert_allclose(found, [1, 0.5, 0.5])


def test_the_half_life_is_short_where_fashion_changes() -> None:
    fading = [(n, "new" if age < 100 else "old", 3, age) for n, age in enumerate(range(400))]
    lasting = [(n, "abcd"[n % 4], 3, age) for n, age in enumerate(range(400))]
    assert half_life(events(*fading)) < 120 < half_life(events(*lasting))


def test_without_times_the_half_life_is_the_longest() -> None:
    assert half_life(events((1, "a", 3, None), (2, "b", 3, None))) == HALF_LIVES[-1]
    assert half_life(events((1, "a", 3, 5), (2, "b", 3, 5))) == HALF_LIVES[-1]


def test_a_half_life_that_is_found_stands_in_the_parameters() -> None:
    data = events(*[(day, "a", 3, day) for day in range(20)])
    assert settled(Params(), data).popularity.half_life_days == HALF_LIVES[-1]
    fixed = Params(popularity=PopularityParams(half_life_days=3))
    assert settled(fixed, data) == fixed


def test_without_times_every_event_counts_one() -> None:
    found = popularity(events((1, "a", 3, None), (2, "a", 1, None)), PopularityParams())
    assert found.tolist() == [2]


def test_equally_popular_movies_stay_in_order() -> None:
    assert most_popular_first(np.array([1.0, 2, 1, 2])).tolist() == [1, 3, 0, 2]


@pytest.mark.parametrize(
    ("rating", "expected"), [(1, 0.2), (3, 0.6), (5, 1.0), (0.5, 0.2), (9, 1.0)]
)
def test_a_high_rating_counts_more_than_a_low_one(rating: float, expected: float) -> None:
    found = strengths(events((1, "a", rating, 0)), EventParams(lowest_rating=0.2), (1, 5))
    assert found[0] == pytest.approx(expected)


def test_minutes_count_logarithmically_up_to_a_full_movie() -> None:
    watched = watches((1, "a", 1, 0), (1, "b", 60, 0), (1, "c", 200, 0))
    found = strengths(number_events(None, watched), EventParams(full_minutes=60), (1, 5))
    np.testing.assert_allclose(found, [np.log(2) / np.log(61), 1, 1], rtol=1e-6)


def test_a_rating_says_more_than_minutes() -> None:
    both = number_events(ratings((1, "a", 1, 0)), watches((1, "a", 100, 0)))
    assert strengths(both, EventParams(lowest_rating=0), (1, 5)).tolist() == [0]


def test_what_counts_nothing_is_not_in_the_matrix() -> None:
    data = events((1, "a", 1, 0), (1, "b", 5, 0))
    found = strength_matrix(data, strengths(data, EventParams(lowest_rating=0), (1, 5)))
    assert found.toarray().tolist() == [[0, 1]]
    assert found.nnz == 1
