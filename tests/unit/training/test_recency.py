import numpy as np

from app.training.ranking.confidence import compute_confidence, to_matrix
from app.training.ranking.ease import MovieWeights
from app.training.ranking.recency import compute_recency
from app.training.ranking.transitions import fit_transitions
from tests.support.params import make_params
from tests.unit.training.tables import Row, events

ORDER: list[Row] = [(1, "d", 3, 0), (1, "a", 3, 1), (1, "c", 3, 2), (2, "a", 3, 7), (2, "d", 3, 9)]


def transitions(*rows: Row, window: int = 1, max_movies: int = 10) -> MovieWeights | None:
    data = events(*rows)
    matrix = to_matrix(data, compute_confidence(data, make_params().confidence, (1, 5)))
    params = make_params(transitions={"window": window, "damping": 2}).transitions
    return fit_transitions(data, matrix, params, max_movies)


def test_the_weight_halves_after_so_many_newer_events() -> None:
    # Pairs are sorted by user and movie: a, c, d of the first user, a, d of the second.
    np.testing.assert_allclose(compute_recency(events(*ORDER), 2), [2**-0.5, 0.5, 1, 1, 2**-0.5])


def test_an_event_without_a_time_is_the_oldest() -> None:
    found = compute_recency(events((1, "a", 3, None), (1, "b", 3, 0), (1, "c", 3, 5)), 1)
    assert found.tolist() == [0.25, 1, 0.5]


def test_without_times_all_weights_are_1() -> None:
    assert compute_recency(events((1, "a", 3, None), (1, "b", 3, None)), 1).tolist() == [1, 1]


def test_movies_watched_one_after_the_other_have_a_weight() -> None:
    found = transitions(*ORDER)
    assert found is not None
    a, c, d = range(3)
    expected = np.zeros((3, 3))
    expected[a, d] = expected[d, a] = 2 / np.sqrt(4 * 4)  # twice; each has 2 events, damping 2
    expected[a, c] = expected[c, a] = 1 / np.sqrt(4 * 3)
    np.testing.assert_allclose(found.weights, expected, rtol=1e-6)


def test_two_steps_count_less_than_one() -> None:
    found = transitions(*ORDER, window=2)
    assert found is not None
    np.testing.assert_allclose(found.weights[1, 2], 2**-0.5 / np.sqrt(4 * 3), rtol=1e-6)


def test_only_the_most_watched_movies_take_part() -> None:
    found = transitions(*ORDER, max_movies=2)
    assert found is not None
    assert found.movies.tolist() == [0, 2]
    assert found.weights.shape == (2, 2)


def test_without_times_there_are_no_transitions() -> None:
    assert transitions((1, "a", 3, None), (1, "b", 3, None)) is None
