import numpy as np
import polars as pl
from hypothesis import given
from hypothesis import strategies as st

from app.ingest.id_repair import find_repairs
from app.ingest.log_parser import is_movie_id
from app.simulator.movies import DAY
from app.simulator.titles import TITLES, title
from app.simulator.users import MOST
from tests.conftest import ROOT
from tests.unit.simulator.environments import world

WORLD = world()


def test_the_same_seed_makes_the_same_world_in_whatever_order_it_is_asked() -> None:
    users = [7, 42, 999_999, 500_000]
    other = world()
    for user in users[::-1]:
        other.people.tastes(user, DAY)
    for user in users:
        assert np.array_equal(WORLD.utilities(user, 3 * DAY), other.utilities(user, 3 * DAY))
        assert WORLD.people.person(user) == other.people.person(user)
    assert WORLD.movies.ids == other.movies.ids


def test_another_seed_makes_another_world() -> None:
    other = world(seed=1)
    assert not np.array_equal(WORLD.utilities(7, 0.0), other.utilities(7, 0.0))
    assert WORLD.movies.ids[600:] != other.movies.ids[600:]


def test_it_grows_from_the_sample() -> None:
    watches = pl.read_parquet(ROOT / "data" / "sample" / "watches.parquet")
    user = int(watches["user_id"][0])
    movies = watches.filter(pl.col("user_id") == user)["movie_id"].to_list()
    assert {WORLD.movies.ids[movie] for movie in WORLD.watched_before(user)} == set(movies)
    # The sample's people watched what they like: truth and sample agree.
    liked = [
        WORLD.utilities(u, 0.0)[list(WORLD.watched_before(u))].mean()
        for u in watches["user_id"].unique().head(200).to_list()
    ]
    assert np.mean(liked) > 1


@given(st.lists(st.integers(0, MOST - 1), unique=True, max_size=50))
def test_everybody_has_an_id_of_their_own(places: list[int]) -> None:
    users = [WORLD.people.at(place) for place in places]
    assert len(set(users)) == len(users)
    assert all(1 <= user <= MOST for user in users)


def test_a_million_users_have_a_million_ids() -> None:
    assert len({WORLD.people.at(place) for place in range(MOST)}) == MOST


def test_every_movie_has_an_id_of_its_own_that_is_never_repaired_to_another() -> None:
    movies = world(movies=5_000).movies.ids
    assert len(set(movies)) == len(movies)
    assert all(map(is_movie_id, movies))
    assert find_repairs(dict.fromkeys(movies, 1) | dict.fromkeys(movies[::2], 1000)) == {}
    assert len({title(8082, number) for number in range(TITLES)}) == TITLES


def test_new_movies_come_with_time_and_are_better_known_at_first() -> None:
    assert WORLD.movies.known(0) == 600
    assert WORLD.movies.known(10 * DAY) == 620
    movies = WORLD.movies
    new = movies.known(10 * DAY) - 1
    young, old = (np.diff(movies.attention(day * DAY), prepend=0)[new] for day in (10, 40))
    assert young > old * 2


def test_tastes_drift_by_setting_and_stay_as_strong() -> None:
    still, moving = world(drift=0.0), world(drift=0.05)
    assert np.array_equal(still.utilities(7, 0.0), still.utilities(7, 0.9 * DAY / 2))
    agreement = [
        np.corrcoef(moving.utilities(u, 0.0)[:600], moving.utilities(u, 20 * DAY)[:600])[0, 1]
        for u in range(1, 200)
    ]
    assert 0.4 < np.mean(agreement) < 0.9
    spread = [np.std(moving.people.tastes(u, 20 * DAY)) for u in range(1, 200)]
    assert 0.7 < np.mean(spread) < 1.2


def test_people_of_one_segment_have_something_in_common() -> None:
    people = WORLD.people
    by_segment: dict[tuple[str, bool], list[list[float]]] = {}
    for user in range(1000, 3000):
        who = people.person(user)
        if 25 <= who.age < 35 and not people.is_founder(user):
            by_segment.setdefault((who.gender, True), []).append(people.tastes(user, 0).tolist())
    for tastes in by_segment.values():
        assert np.abs(np.mean(tastes, axis=0)).max() > 0.2
