from itertools import product

import numpy as np
import pandas as pd
import pytest
from surprise import SVD, Dataset, Reader

from app.training.interactions import encode_interactions
from app.training.svd import ArrayTrainset, SvdModel, fit_svd, select_ratings
from tests.support.params import make_params
from tests.unit.training.tables import Row, events, ratings, watches

SCALE = (1.0, 5.0)
PARAMS = make_params(
    svd={"factors": 8, "epochs": 5, "learning_rate": 0.02, "regularization": 0.03}
).svd


@pytest.fixture(scope="module")
def rows() -> list[Row]:
    """The first user rates all movies, so that Surprise numbers them in the same order."""
    random = np.random.default_rng(4)
    pairs = [*range(30), *np.sort(30 + random.permutation(39 * 30)[:400])]
    return [
        (int(p // 30) * 7, f"movie+{p % 30:02}", float(random.integers(1, 6)), None) for p in pairs
    ]


@pytest.fixture(scope="module")
def model(rows: list[Row]) -> SvdModel:
    found = fit_svd(events(*rows), PARAMS, SCALE, seed=11)
    assert found is not None
    return found


def test_estimates_are_those_of_surprise_itself(rows: list[Row], model: SvdModel) -> None:
    frame = pd.DataFrame([row[:3] for row in rows], columns=["user", "item", "rating"])
    theirs = SVD(n_factors=8, n_epochs=5, lr_all=0.02, reg_all=0.03, random_state=11)
    theirs.fit(Dataset.load_from_df(frame, Reader(rating_scale=SCALE)).build_full_trainset())
    data = events(*rows)
    pairs = list(product(range(len(data.users)), range(len(data.movies))))
    expected = [
        theirs.predict(int(data.users[user]), data.movies[item], clip=False).est
        for user, item in pairs
    ]
    user, item = np.array(pairs).T
    np.testing.assert_allclose(model.estimate(user, item), expected, atol=1e-6, rtol=0)


def test_an_unknown_user_or_movie_adds_0_as_in_surprise(model: SvdModel) -> None:
    unknown = model.estimate(np.array([-1, 3, -1]), np.array([-1, -1, 4]))
    expected = [0, model.user_bias[3], model.movie_bias[4]]
    np.testing.assert_allclose(unknown, model.mean + np.array(expected))


def test_a_user_who_only_watched_has_no_bias_and_no_factors() -> None:
    rated, watched = ratings((1, "a", 5, 0), (1, "b", 1, 0)), watches((2, "c", 90, 0))
    model = fit_svd(encode_interactions(rated, watched), PARAMS, SCALE, seed=0)
    assert model is not None
    assert model.estimate(np.array([1]), np.array([2])).tolist() == [model.mean]
    assert not model.users[1].any()
    assert not model.movies[2].any()


def test_without_ratings_there_is_no_model() -> None:
    assert fit_svd(encode_interactions(None, watches((1, "a", 5, 0))), PARAMS, SCALE, 0) is None


def test_a_model_is_restored_from_its_arrays(model: SvdModel) -> None:
    again = SvdModel.from_arrays(model.to_arrays())
    user, item = np.array([0, 5]), np.array([1, 2])
    assert again.estimate(user, item).tolist() == model.estimate(user, item).tolist()


def test_more_ratings_than_the_limit_are_sampled_by_the_seed(rows: list[Row]) -> None:
    data = events(*rows)
    params = PARAMS.model_copy(update={"max_ratings": 100})
    found, again, other = (select_ratings(data, params, seed) for seed in (1, 1, 2))
    known = dict(zip(zip(data.user, data.movie, strict=True), data.rating, strict=True))
    pairs = list(zip(found.user, found.movie, strict=True))
    assert len(set(pairs)) == 100
    assert [known[pair] for pair in pairs] == found.rating.tolist()
    assert (np.diff(found.user) >= 0).all()
    assert again.movie.tolist() == found.movie.tolist() != other.movie.tolist()
    model = fit_svd(data, params, SCALE, 1)
    assert model is not None
    assert len(model.user_bias) == len(data.users)


def test_all_ratings_are_those_of_the_arrays(rows: list[Row]) -> None:
    found = select_ratings(events(*rows), PARAMS, 0)
    trainset = ArrayTrainset(found.user, found.movie, found.rating, SCALE)
    expected = zip(found.user.tolist(), found.movie.tolist(), found.rating.tolist(), strict=True)
    assert list(trainset.all_ratings()) == list(expected)
