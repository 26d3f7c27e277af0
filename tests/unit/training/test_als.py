import os

import numpy as np
import pytest
from scipy import sparse

from app.training.params import AlsParams
from app.training.ranking import als
from app.training.ranking.als import AlsFactors, fit_als, solve_users
from tests.support.params import make_params


@pytest.fixture(scope="module")
def confidence() -> sparse.csr_array:
    random = np.random.default_rng(1)
    dense = random.random((70, 40), np.float32) * (random.random((70, 40)) < 0.2)
    dense[3] = 0  # a user without events
    return sparse.csr_array(dense.astype(np.float32))


def fit_by_definition(
    weights: sparse.csr_array, params: AlsParams, movies: np.ndarray
) -> AlsFactors:
    """Fit the same model by its definition: one dense system per row, in double precision."""
    confidence = 1 + params.alpha * weights.toarray().astype(float)
    liked = weights.toarray() > 0

    def solve(others: np.ndarray, conf: np.ndarray, want: np.ndarray) -> np.ndarray:
        rows = np.zeros((len(conf), params.factors))
        for row, (c, p) in enumerate(zip(conf, want, strict=True)):
            if p.any():
                penalty = params.regularization * p.sum() ** params.exponent
                system = (others.T * c) @ others + penalty * np.eye(params.factors)
                rows[row] = np.linalg.solve(system, others.T @ (c * p))
        return rows

    for _ in range(params.iterations):
        users = solve(movies, confidence, liked)
        movies = solve(users, confidence.T, liked.T)
    return AlsFactors(users, movies)


@pytest.mark.parametrize("exponent", [0.0, 0.5, 1.0])
def test_it_solves_the_weighted_least_squares(
    confidence: sparse.csr_array, exponent: float
) -> None:
    params = make_params(
        als={"factors": 5, "iterations": 3, "alpha": 3, "regularization": 0.2, "exponent": exponent}
    ).als
    ours = fit_als(confidence, params, seed=2)
    random = np.random.default_rng(2)
    random.standard_normal((70, 5), dtype=np.float32)  # the users' start, which is not used
    start = random.standard_normal((40, 5), dtype=np.float32) / 5
    expected = fit_by_definition(confidence, params, start.astype(float))
    np.testing.assert_allclose(
        ours.users @ ours.movies.T, expected.users @ expected.movies.T, atol=1e-3
    )


def test_the_result_does_not_depend_on_the_number_of_threads(
    confidence: sparse.csr_array, monkeypatch: pytest.MonkeyPatch
) -> None:
    params = make_params(als={"factors": 8, "iterations": 3}).als
    several = fit_als(confidence, params, seed=5)
    monkeypatch.setattr(os, "cpu_count", lambda: 1)
    one = fit_als(confidence, params, seed=5)
    assert one.users.tobytes() == several.users.tobytes()
    assert one.movies.tobytes() == several.movies.tobytes()


def test_a_user_without_events_has_no_factors(confidence: sparse.csr_array) -> None:
    assert not fit_als(confidence, make_params(als={"factors": 3}).als, seed=0).users[3].any()


def test_it_counts_its_iterations(confidence: sparse.csr_array) -> None:
    done: list[None] = []
    fit_als(
        confidence,
        make_params(als={"factors": 3, "iterations": 7}).als,
        0,
        lambda: done.append(None),
    )
    assert len(done) == 7


def test_users_are_solved_for_fitted_movies(confidence: sparse.csr_array) -> None:
    params = make_params(als={"factors": 6}).als
    movies = np.random.default_rng(2).standard_normal((40, 6)).astype(np.float32)
    found = solve_users(confidence, movies, params)
    assert not found[3].any()
    for row, values in enumerate(confidence.toarray()):
        events = int((values > 0).sum())
        if events:
            weights = 1 + params.alpha * values
            penalty = params.regularization * events**params.exponent
            system = (movies.T * weights) @ movies + penalty * np.eye(6)
            expected = np.linalg.solve(system, movies.T @ (weights * (values > 0)))
            assert found[row] == pytest.approx(expected, abs=2e-3)


@pytest.mark.parametrize("users", [60, 2000])
@pytest.mark.parametrize("block_events", [7, 2048])
def test_rows_of_any_length_are_solved_by_the_normal_equations(
    users: int, block_events: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Of few and of many events, in one block and in several, and of few or many equal rows."""
    monkeypatch.setattr(als, "_BLOCK_EVENTS", block_events)
    random = np.random.default_rng(3)
    events = random.permutation(np.arange(users) % 61)
    values = np.zeros((users, 60), np.float32)
    for row, count in enumerate(events.tolist()):
        values[row, random.permutation(60)[:count]] = random.uniform(0.01, 1, count)
    movies = random.standard_normal((60, 24)).astype(np.float32)
    params = make_params(als={"factors": 24}).als
    found = solve_users(sparse.csr_array(values), movies, params)
    assert not found[events == 0].any()
    for row in random.permutation(users)[:100].tolist():
        weights = np.where(values[row] > 0, 1 + params.alpha * values[row].astype(float), 1)
        penalty = params.regularization * max(1, int(events[row])) ** params.exponent
        system = (movies.T * weights) @ movies + penalty * np.eye(24)
        expected = np.linalg.solve(system, movies.T @ (weights * (values[row] > 0)))
        assert found[row] == pytest.approx(expected, abs=1e-4), events[row]
