import numpy as np
import pytest

from app.training.ranking.ease import MovieWeights
from app.training.ranking.related import compute_related
from tests.support.recent import make_recent_params

RANDOM = np.random.default_rng(4)


def model(*movies: int) -> MovieWeights:
    weights = RANDOM.standard_normal((len(movies), len(movies))).astype(np.float32)
    np.fill_diagonal(weights, 0)
    return MovieWeights(np.array(movies, np.int32), weights)


def test_the_best_others_are_those_of_the_weighted_sum() -> None:
    ease, transitions = model(*range(0, 400, 2)), model(*range(0, 400, 3))
    related, weights = compute_related(
        ease, transitions, 400, make_recent_params(related_movies=9, ease_share=0.3)
    )
    dense = np.zeros((400, 400))
    for part, share in ((ease, 0.3), (transitions, 0.7)):
        positive = np.maximum(part.weights, 0)
        dense[np.ix_(part.movies, part.movies)] += share * positive / np.sqrt((positive**2).mean())
    expected = np.sort(dense, axis=1)[:, ::-1][:, :9]
    assert weights == pytest.approx(expected, abs=1e-5)
    for movie in range(400):
        found = related[movie] < 400
        assert dense[movie][related[movie][found]] == pytest.approx(weights[movie][found], abs=1e-5)
        assert found.sum() == min(9, (dense[movie] > 0).sum())
        assert movie not in related[movie]


def test_one_model_is_enough() -> None:
    only = model(1, 4, 7)
    related, weights = compute_related(None, only, 8, make_recent_params(related_movies=2))
    assert related.shape == weights.shape == (8, 2)
    assert (related[[0, 2, 3, 5, 6]] == 8).all()
    assert set(related[[1, 4, 7]].ravel().tolist()) <= {1, 4, 7, 8}


def test_without_models_all_rows_are_empty() -> None:
    related, weights = compute_related(None, None, 5, make_recent_params())
    assert (related == 5).all()
    assert not weights.any()
