import numpy as np
import polars as pl
from hypothesis import given
from hypothesis import strategies as st

from app.ingest.id_repair import find_repairs
from app.ingest.log_parser import is_movie_id
from app.simulator.movies import DAY_SECONDS, N_TITLES, make_title
from app.simulator.users import MAX_USERS
from tests.conftest import ROOT
from tests.support.simulator import make_environment

ENVIRONMENT = make_environment()


def test_the_same_seed_gives_the_same_environment_in_any_order_of_reading() -> None:
    users = [7, 42, 999_999, 500_000]
    other = make_environment()
    for user in users[::-1]:
        other.users.factors(user, DAY_SECONDS)
    for user in users:
        time = 3 * DAY_SECONDS
        assert np.array_equal(ENVIRONMENT.utilities(user, time), other.utilities(user, time))
        assert ENVIRONMENT.users.profile(user) == other.users.profile(user)
    assert ENVIRONMENT.movies.ids == other.movies.ids


def test_another_seed_gives_another_environment() -> None:
    other = make_environment(seed=1)
    assert not np.array_equal(ENVIRONMENT.utilities(7, 0.0), other.utilities(7, 0.0))
    assert ENVIRONMENT.movies.ids[600:] != other.movies.ids[600:]


def test_users_have_watched_the_movies_of_the_sample_and_like_them() -> None:
    watches = pl.read_parquet(ROOT / "data" / "sample" / "watches.parquet")
    user = int(watches["user_id"][0])
    expected = watches.filter(pl.col("user_id") == user)["movie_id"].to_list()
    watched = ENVIRONMENT.watched_before_start(user)
    assert {ENVIRONMENT.movies.ids[movie] for movie in watched} == set(expected)
    means = [
        ENVIRONMENT.utilities(u, 0.0)[list(ENVIRONMENT.watched_before_start(u))].mean()
        for u in watches["user_id"].unique().head(200).to_list()
    ]
    assert np.mean(means) > 1


@given(st.lists(st.integers(0, MAX_USERS - 1), unique=True, max_size=50))
def test_different_positions_have_different_user_ids(positions: list[int]) -> None:
    users = [ENVIRONMENT.users.id_at(position) for position in positions]
    assert len(set(users)) == len(users)
    assert all(1 <= user <= MAX_USERS for user in users)


def test_a_million_positions_have_a_million_user_ids() -> None:
    ids = {ENVIRONMENT.users.id_at(position) for position in range(MAX_USERS)}
    assert len(ids) == MAX_USERS


def test_movie_ids_are_unique_and_never_repaired_to_one_another() -> None:
    movies = make_environment(movies=5_000).movies.ids
    assert len(set(movies)) == len(movies)
    assert all(map(is_movie_id, movies))
    assert find_repairs(dict.fromkeys(movies, 1) | dict.fromkeys(movies[::2], 1000)) == {}
    assert len({make_title(8082, number) for number in range(N_TITLES)}) == N_TITLES


def test_new_movies_are_released_each_day_and_are_more_popular_at_first() -> None:
    movies = ENVIRONMENT.movies
    assert movies.count_released(0) == 600
    assert movies.count_released(10 * DAY_SECONDS) == 620
    newest = movies.count_released(10 * DAY_SECONDS) - 1
    early, late = (
        np.diff(movies.discovery_cdf(day * DAY_SECONDS), prepend=0)[newest] for day in (10, 40)
    )
    assert early > late * 2


def test_factors_drift_by_the_setting_without_changing_in_size() -> None:
    constant, drifting = make_environment(drift=0.0), make_environment(drift=0.05)
    later = constant.utilities(7, 0.9 * DAY_SECONDS / 2)
    assert np.array_equal(constant.utilities(7, 0.0), later)
    time = 20 * DAY_SECONDS
    correlations = [
        np.corrcoef(drifting.utilities(u, 0.0)[:600], drifting.utilities(u, time)[:600])[0, 1]
        for u in range(1, 200)
    ]
    assert 0.4 < np.mean(correlations) < 0.9
    spread = [np.std(drifting.users.factors(u, time)) for u in range(1, 200)]
    assert 0.7 < np.mean(spread) < 1.2


def test_users_of_one_segment_share_a_part_of_their_factors() -> None:
    users = ENVIRONMENT.users
    by_gender: dict[str, list[list[float]]] = {}
    for user in range(1000, 3000):
        profile = users.profile(user)
        if 25 <= profile.age < 35 and not users.is_in_sample(user):
            by_gender.setdefault(profile.gender, []).append(users.factors(user, 0).tolist())
    for factors in by_gender.values():
        assert np.abs(np.mean(factors, axis=0)).max() > 0.2
