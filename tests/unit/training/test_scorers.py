import numpy as np
import pytest
from scipy import sparse

from app.training.errors import TrainingError
from app.training.ranking.ease import fit_ease
from app.training.ranking.scorers import (
    Blend,
    BlendScorer,
    FactorScorer,
    MovieWeightScorer,
    SameForAllScorer,
    Weight,
)
from tests.support.params import make_params

RANDOM = np.random.default_rng(3)
USERS, MOVIES = 12, 30


def confidence() -> sparse.csr_array:
    dense = RANDOM.random((USERS, MOVIES)) * (RANDOM.random((USERS, MOVIES)) < 0.3)
    dense[4] = 0
    return sparse.csr_array(dense.astype(np.float32))


def factor_scorer() -> FactorScorer:
    users = RANDOM.standard_normal((USERS, 4)).astype(np.float32)
    users[4] = 0
    return FactorScorer(users, RANDOM.standard_normal((MOVIES, 4)).astype(np.float32))


def ease_scorer(max_movies: int = MOVIES) -> MovieWeightScorer:
    watched = confidence()
    ease = fit_ease(watched, make_params(ease={"max_movies": max_movies}).ease)
    return MovieWeightScorer(watched, ease.movies, ease.weights)


@pytest.mark.parametrize("make", [factor_scorer, ease_scorer, lambda: ease_scorer(9)])
def test_scores_have_the_same_spread_for_every_known_user(make: object) -> None:
    assert callable(make)
    scores = make().scores(0, USERS)
    spread = scores.std(axis=1)
    assert scores.dtype == np.float32
    np.testing.assert_allclose(spread[spread > 0], 1, rtol=1e-4)
    assert (spread > 0).sum() > USERS / 2
    assert spread[4] == 0


def test_popularity_has_the_same_spread_too() -> None:
    scores = SameForAllScorer(np.arange(50.0)).scores(3, 7)
    assert scores.shape == (4, 50)
    np.testing.assert_allclose(scores.std(axis=1), 1, rtol=1e-5)


def test_equal_popularity_gives_scores_of_0() -> None:
    assert not SameForAllScorer(np.full(5, 7.0)).scores(0, 2).any()


def test_factors_order_movies_as_their_product_does() -> None:
    users = RANDOM.standard_normal((5, 4)).astype(np.float32)
    movies = RANDOM.standard_normal((MOVIES, 4)).astype(np.float32)
    expected = np.argsort(users @ movies.T, axis=1)
    found = np.argsort(FactorScorer(users, movies).scores(0, 5), axis=1)
    assert (found == expected).all()


def test_ease_is_the_closed_form() -> None:
    watched = confidence()
    model = fit_ease(watched, make_params(ease={"regularization": 3}).ease)
    dense = watched.toarray().astype(float)
    # Least squares with an empty diagonal, movie by movie, from the normal equations.
    counts = (dense > 0).any(axis=0)
    gram = dense.T @ dense + 3 * np.eye(MOVIES)
    for place, movie in enumerate(model.movies):
        others = np.flatnonzero(counts & (np.arange(MOVIES) != movie))
        expected = np.linalg.solve(gram[np.ix_(others, others)], gram[others, movie])
        np.testing.assert_allclose(np.delete(model.weights[:, place], place), expected, atol=1e-5)
        assert model.weights[place, place] == 0


def test_ease_keeps_the_most_watched_movies() -> None:
    watched = confidence()
    counts = np.diff(watched.tocsc().indptr)
    movies = fit_ease(watched, make_params(ease={"max_movies": 9}).ease).movies
    assert len(movies) == 9
    assert counts[movies].min() >= np.sort(counts)[-9]


@pytest.mark.parametrize("order", [1, -1])
def test_a_blend_is_the_weighted_sum(order: int) -> None:
    parts: list[tuple[Weight, BlendScorer]] = [
        (0.5, SameForAllScorer(np.arange(float(MOVIES)))),
        (2.0, factor_scorer()),
    ]
    expected = 0.5 * parts[0][1].scores(2, 6) + 2 * parts[1][1].scores(2, 6)
    np.testing.assert_allclose(Blend(parts[::order]).scores(2, 6), expected, rtol=1e-4, atol=1e-6)


def test_a_weight_may_differ_from_user_to_user() -> None:
    scorer = factor_scorer()
    weights = np.arange(USERS, dtype=np.float32)
    expected = weights[2:6, None] * scorer.scores(2, 6)
    np.testing.assert_allclose(Blend([(weights, scorer)]).scores(2, 6), expected)


def test_a_blend_does_not_compute_a_scorer_of_weight_0() -> None:
    class Broken:
        def scores(self, first: int, last: int) -> np.ndarray:
            raise AssertionError

        def add_scores(self, first: int, last: int, weight: np.ndarray, total: np.ndarray) -> None:
            raise AssertionError

    blend = Blend([(0.0, Broken()), (1.0, factor_scorer())])
    assert blend.scores(0, 2).shape == (2, MOVIES)


def test_a_blend_without_scorers_is_an_error() -> None:
    with pytest.raises(TrainingError, match="weight 0"):
        Blend([(0.0, factor_scorer())])
