"""The simulation of releases: its users choose as those of `marquee simulate` do."""

import numpy as np
import pytest

from app.simulator.arrivals import Arrival
from app.simulator.choice_model import DISCOVERIES, choose_movie
from app.simulator.environment import Environment, EnvironmentSettings
from bench.quality_simulated import (
    LENGTH,
    NOISE,
    NOISE_SCALE,
    PAST_SECONDS,
    SEED,
    WINDOW_SECONDS,
    Floats,
    Pool,
    choose_movies,
    credit,
    draw_plan,
    run_cell,
    simulate,
)


@pytest.fixture(scope="module")
def pool() -> Pool:
    return Pool(Environment(EnvironmentSettings(seed=SEED, days=5)), 300)


class GivenDraws:
    """Returns the same draws as the simulation of many users got."""

    def __init__(self, uniform: Floats, gumbel: Floats) -> None:
        self._uniform, self._gumbel = uniform, gumbel

    def random(self, count: int) -> Floats:
        return self._uniform[:count]

    def gumbel(self, _: float, scale: float, count: int) -> Floats:
        assert scale == NOISE_SCALE
        return np.pad(self._gumbel, (0, count - len(self._gumbel)))


def test_users_choose_as_in_the_simulator(pool: Pool) -> None:
    rng = np.random.default_rng(1)
    users = np.arange(200)
    times = rng.random(200) * (PAST_SECONDS + WINDOW_SECONDS)
    draws = rng.random((200, DISCOVERIES))
    gumbel = rng.gumbel(0, NOISE_SCALE, (200, DISCOVERIES + LENGTH))
    found = pool.discover(draws, times)
    # Every third list holds what the user discovers, every second user has watched some of it.
    shown = pool.lists[2.0][users][:, :LENGTH].astype(np.int64)
    shown[::3, 5] = found[::3, 0]
    watched = [set(row[:3].tolist()) - set(s.tolist()) for row, s in zip(found, shown, strict=True)]
    watched[1::2] = [set() for _ in watched[1::2]]
    seen = np.array([[m in w for m in f.tolist()] for f, w in zip(found, watched, strict=True)])
    movies = np.hstack([found, shown])
    column = choose_movies(pool.utilities(users, movies, times), found, shown, gumbel, seen)
    for user in users.tolist():
        arrival = Arrival(
            user, times[user], times[user], int(pool.ids[user]), "", False,
            GivenDraws(draws[user], gumbel[user]),  # type: ignore[arg-type]
        )  # fmt: skip
        chosen = choose_movie(pool.environment, arrival, shown[user].tolist(), watched[user])
        assert movies[user, column[user]] == chosen.movie, user


def test_no_movie_is_watched_twice_and_a_take_was_listed(pool: Pool) -> None:
    plan = draw_plan(pool, 0, 2, 100)
    world = simulate(pool, plan, NOISE["better"])
    takes = credit(plan, world)
    for row in range(len(plan.user)):
        visits = int(np.isfinite(plan.times[row]).sum())
        assert len(set(world.chosen[row, :visits].tolist())) == visits
    assert (takes >= world.at_once).all()
    assert takes[~np.isfinite(plan.times)].sum() == 0


def test_a_release_of_few_users_is_measured(pool: Pool) -> None:
    better = run_cell(pool, "better", 20, 60)
    assert better["truth"] > 0.05
    assert abs(better["measured"] - better["truth"]) < 0.1
    assert run_cell(pool, "itself", 20, 60)["truth"] == 0
