import numpy as np
import pytest

from app.training.interactions import encode_interactions
from app.training.ranking.confidence import compute_confidence, to_matrix
from app.training.ranking.popularity import (
    HALF_LIVES,
    compute_popularity,
    find_half_life,
    rank_by_popularity,
    resolve_auto,
)
from tests.support.params import make_params
from tests.unit.training.tables import events, ratings, watches


def test_an_event_counts_half_after_the_half_life() -> None:
    found = compute_popularity(
        events((1, "a", 3, 0), (2, "b", 3, 10), (3, "b", 3, 20)),
        make_params(popularity={"half_life_days": 10}).popularity,
    )
    np.testing.assert_allclose(found, [1, 0.75])


def test_an_event_without_time_counts_as_the_oldest() -> None:
    found = compute_popularity(
        events((1, "a", 3, 0), (2, "b", 3, 10), (3, "c", 3, None)),
        make_params(popularity={"half_life_days": 10}).popularity,
    )
    np.testing.assert_allclose(found, [1, 0.5, 0.5])


def test_the_half_life_is_short_where_popularity_changes() -> None:
    changing = [(n, "new" if age < 100 else "old", 3, age) for n, age in enumerate(range(400))]
    lasting = [(n, "abcd"[n % 4], 3, age) for n, age in enumerate(range(400))]
    assert find_half_life(events(*changing)) < 120 < find_half_life(events(*lasting))


def test_without_times_the_half_life_is_the_longest() -> None:
    assert find_half_life(events((1, "a", 3, None), (2, "b", 3, None))) == HALF_LIVES[-1]
    assert find_half_life(events((1, "a", 3, 5), (2, "b", 3, 5))) == HALF_LIVES[-1]


def test_the_half_life_that_was_found_replaces_auto() -> None:
    data = events(*[(day, "a", 3, day) for day in range(20)])
    assert resolve_auto(make_params(), data).popularity.half_life_days == HALF_LIVES[-1]
    fixed = make_params(popularity={"half_life_days": 3})
    assert resolve_auto(fixed, data) == fixed


def test_without_times_every_event_counts_one() -> None:
    found = compute_popularity(
        events((1, "a", 3, None), (2, "a", 1, None)), make_params().popularity
    )
    assert found.tolist() == [2]


def test_equally_popular_movies_are_in_the_order_of_their_numbers() -> None:
    assert rank_by_popularity(np.array([1.0, 2, 1, 2])).tolist() == [1, 3, 0, 2]


@pytest.mark.parametrize(
    ("rating", "expected"), [(1, 0.2), (3, 0.6), (5, 1.0), (0.5, 0.2), (9, 1.0)]
)
def test_a_high_rating_counts_more_than_a_low_one(rating: float, expected: float) -> None:
    found = compute_confidence(
        events((1, "a", rating, 0)),
        make_params(confidence={"lowest_rating": 0.2}).confidence,
        (1, 5),
    )
    assert found[0] == pytest.approx(expected)


def test_minutes_count_logarithmically_up_to_a_full_movie() -> None:
    watched = watches((1, "a", 1, 0), (1, "b", 60, 0), (1, "c", 200, 0))
    found = compute_confidence(
        encode_interactions(None, watched),
        make_params(confidence={"full_minutes": 60}).confidence,
        (1, 5),
    )
    np.testing.assert_allclose(found, [np.log(2) / np.log(61), 1, 1], rtol=1e-6)


def test_a_rating_counts_instead_of_minutes() -> None:
    both = encode_interactions(ratings((1, "a", 1, 0)), watches((1, "a", 100, 0)))
    assert compute_confidence(
        both, make_params(confidence={"lowest_rating": 0}).confidence, (1, 5)
    ).tolist() == [0]


def test_a_pair_of_confidence_0_is_not_in_the_matrix() -> None:
    data = events((1, "a", 1, 0), (1, "b", 5, 0))
    found = to_matrix(
        data,
        compute_confidence(data, make_params(confidence={"lowest_rating": 0}).confidence, (1, 5)),
    )
    assert found.toarray().tolist() == [[0, 1]]
    assert found.nnz == 1
