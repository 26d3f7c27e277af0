import numpy as np

from app.training.params import EaseParams, EventParams, NeighbourParams
from app.training.ranking.confidence import strength_matrix, strengths
from app.training.ranking.ease import EaseWeights
from app.training.ranking.item_transitions import fit_neighbours
from app.training.ranking.recency_weights import fading
from tests.unit.training.tables import Row, events

ORDER: list[Row] = [(1, "d", 3, 0), (1, "a", 3, 1), (1, "c", 3, 2), (2, "a", 3, 7), (2, "d", 3, 9)]


def neighbours(*rows: Row, window: int = 1, max_movies: int = 10) -> EaseWeights | None:
    data = events(*rows)
    matrix = strength_matrix(data, strengths(data, EventParams(), (1, 5)))
    params = NeighbourParams(window=window, damping=2)
    return fit_neighbours(data, matrix, params, EaseParams(max_movies=max_movies))


def test_an_event_is_left_half_after_so_many_newer_ones() -> None:
    # Pairs are sorted by user and movie: a, c, d of the first user, a, d of the second.
    np.testing.assert_allclose(fading(events(*ORDER), 2), [2**-0.5, 0.5, 1, 1, 2**-0.5])


def test_an_event_without_a_time_is_the_oldest() -> None:
    found = fading(events((1, "a", 3, None), (1, "b", 3, 0), (1, "c", 3, 5)), 1)
    assert found.tolist() == [0.25, 1, 0.5]


def test_without_any_time_nothing_fades() -> None:
    assert fading(events((1, "a", 3, None), (1, "b", 3, None)), 1).tolist() == [1, 1]


def test_movies_watched_one_after_the_other_are_neighbours() -> None:
    found = neighbours(*ORDER)
    assert found is not None
    a, c, d = range(3)
    expected = np.zeros((3, 3))
    expected[a, d] = expected[d, a] = 2 / np.sqrt(4 * 4)  # twice; each has 2 events, damping 2
    expected[a, c] = expected[c, a] = 1 / np.sqrt(4 * 3)
    np.testing.assert_allclose(found.weights, expected, rtol=1e-6)


def test_a_step_further_counts_less() -> None:
    found = neighbours(*ORDER, window=2)
    assert found is not None
    np.testing.assert_allclose(found.weights[1, 2], 2**-0.5 / np.sqrt(4 * 3), rtol=1e-6)


def test_only_the_most_watched_movies_take_part() -> None:
    found = neighbours(*ORDER, max_movies=2)
    assert found is not None
    assert found.movies.tolist() == [0, 2]
    assert found.weights.shape == (2, 2)


def test_without_times_there_are_no_neighbours() -> None:
    assert neighbours((1, "a", 3, None), (1, "b", 3, None)) is None
