"""The online quality measured in releases, against the truth of the simulator.

    python -m bench.quality_simulated [--releases N] [--users N] [--json]

The users of `marquee simulate` choose among what is recommended and what they discover, and a fifth
of the requests go to the canary. Lists have the best movies by true utility plus noise; the worse
canary has more noise, and `itself` is the version in production. Measured is what the code of
`marquee quality` credits and compares.

The truth of an answer is what would be credited to it if the other version gave it and everything
else stayed as it is: the users of a release live a second time, with the same draws, with one
answer of each exchanged. Beside it are the truth without the movies that users find later
(`at_once`), and that of a world in which one version gives all answers (`promoted`). Exit status 1
when a target is missed, which at least 1,000 releases can tell.
"""

import argparse
import json
import math
import sys
import time
from typing import Any, NamedTuple

import numpy as np
import polars as pl
from numpy.typing import NDArray

from app.canary_analysis.limits import Limits
from app.canary_analysis.quality_check import QualityDifference, judge_quality
from app.quality.credit import ANSWERS, HORIZONS, WATCHED, credit_watches
from app.quality.estimate import Difference, Outcomes, compare
from app.simulator.choice_model import DISCOVERIES
from app.simulator.environment import Environment, EnvironmentSettings
from app.simulator.sample_data import N_FACTORS
from bench.quality_errors import MAX_ALARMS, MIN_RELEASES, upper_bound

SEED = 20_260_901
POOL, USERS, VISITS, PAST_VISITS = 20_000, 250, 5, 3
CANARY_SHARE = 0.2
PRODUCTION, CANDIDATE = 7, 8
LENGTH, RANKED, MAX_VISITS = 20, 100, 80
PAST_SECONDS, WINDOW_SECONDS = 3 * 86_400, 43_200
DAYS = 5
WATCH_DELAY_SECONDS = 30
#: Releases that are simulated at a time. The truth is computed from every second group, and the
#: worlds of one version from every tenth: their errors are small beside that of one release.
GROUP, TRUTH_EVERY, PROMOTED_EVERY = 20, 2, 10
#: Scale of the noise of what a movie seems worth to a user, as in `choose_movie`.
NOISE_SCALE = 0.3
#: Noise of production's and the canary's lists; None: the same lists.
NOISE: dict[str, tuple[float, float | None]] = {
    "itself": (1.0, None),
    "worse": (1.0, 2.0),
    "better": (2.0, 1.0),
}

Floats = NDArray[np.float64]
Ints = NDArray[np.int64]
Bools = NDArray[np.bool_]


class Pool:
    """Users of an environment, of which releases draw theirs.

    Attributes:
        factors: [users x factors] at the start, and those that they rotate towards.
        lists: noise -> [users x RANKED] movies, best first.
    """

    def __init__(self, environment: Environment, users: int, seed: int = SEED) -> None:
        self.environment = environment
        self.ids = np.random.default_rng(seed).choice(1_000_000, users, replace=False) + 1
        drift = environment.settings.drift / 86_400
        # A quarter of a turn later a user's factors are those that they rotate towards.
        self.factors = np.empty((2, users, N_FACTORS))
        for part, moment in enumerate((0.0, math.pi / 2 / drift)):
            for row, user in enumerate(self.ids.tolist()):
                self.factors[part, row] = environment.users.factors(user, moment)
        self.drift = drift
        self.lists = {noise: self._rank(noise) for noise in (1.0, 2.0)}
        hours = range((PAST_SECONDS + WINDOW_SECONDS) // 3600)
        cdfs = [environment.movies.discovery_cdf(3600.0 * hour) for hour in hours]
        self._starts = np.cumsum([0, *map(len, cdfs)])
        self._cdf = np.concatenate([cdf + hour for hour, cdf in enumerate(cdfs)])

    def _rank(self, noise: float) -> NDArray[np.int16]:
        movies = self.environment.movies
        released = movies.count_released(0)
        rng = np.random.default_rng([SEED, round(noise * 10)])
        ranked = np.empty((len(self.ids), RANKED), np.int16)
        for start in range(0, len(self.ids), 1000):
            rows = slice(start, start + 1000)
            scores = self.factors[0, rows] @ movies.factors[:released].T / math.sqrt(N_FACTORS)
            scores += movies.quality[:released]
            scores += noise * rng.normal(size=scores.shape)
            ranked[rows] = np.argsort(-scores, axis=1)[:, :RANKED]
        return ranked

    def discover(self, draws: Floats, times: Floats) -> Ints:
        """`Environment.discover` of many users, with duplicates; [users x draws]."""
        hour = (times // 3600).astype(np.int64)
        found = self._cdf.searchsorted(draws + hour[:, None]) - self._starts[hour][:, None]
        last = np.diff(self._starts)[hour][:, None] - 1
        movies: Ints = np.minimum(found, last)
        return movies

    def utilities(self, users: Ints, movies: Ints, times: Floats) -> Floats:
        """`Environment.utilities` of some movies of each user, [users x movies]."""
        angle = (self.drift * times)[:, None]
        factors = np.cos(angle) * self.factors[0, users] + np.sin(angle) * self.factors[1, users]
        everything = self.environment.movies
        match = np.einsum("umf,uf->um", everything.factors[movies], factors)
        result: Floats = match / math.sqrt(N_FACTORS) + everything.quality[movies]
        return result


def choose_movies(
    utilities: Floats, discovered: Ints, listed: Ints, noise: Floats, seen: Bools
) -> Ints:
    """`choose_movie` of many users: the column of the chosen one of discovered and listed movies.

    Args:
        utilities: [users x (discoveries + list)].
        discovered: [users x discoveries], also movies seen before or found twice.
        listed: [users x list], none of them seen.
        noise: [users x (discoveries + list)], in the order in which `choose_movie` uses it up.
        seen: [users x discoveries], of the discovered movies.
    """
    count = discovered.shape[1]
    earlier = discovered[:, :, None] == discovered[:, None, :]
    is_new = ~seen & ~np.tril(earlier, -1).any(axis=2)
    place = np.maximum(np.cumsum(is_new, axis=1) - 1, 0)
    worth = utilities.copy()
    worth[:, :count] += np.take_along_axis(noise[:, :count], place, axis=1)
    worth[:, count:] += noise[:, count:]
    worth[:, :count][~is_new] = -np.inf
    # A movie that is listed and discovered looks as it does where it was discovered.
    both = ((listed[:, :, None] == discovered[:, None, :]) & is_new[:, None, :]).any(axis=2)
    worth[:, count:][both] = -np.inf
    best: Ints = worth.argmax(axis=1)
    return best


class Plan(NamedTuple):
    """Who visits when, and which slot answers.

    Attributes:
        user: [users] row of the pool.
        release: [users] number of the release in the group.
        times: [users x visits] seconds, ascending, infinite beyond a user's visits.
        to_canary: [users x visits].
        exchanged: [users] the visit of the window that is answered by the other version in the
            second world; -1: the user has none.
        seed: of the users' draws.
    """

    user: Ints
    release: Ints
    times: Floats
    to_canary: Bools
    exchanged: Ints
    seed: tuple[int, ...]


def draw_plan(pool: Pool, group: int, releases: int, users: int) -> Plan:
    """Draw the visits of a group of releases."""
    rng = np.random.default_rng([SEED, group])
    user = np.concatenate(
        [rng.choice(len(pool.ids), users, replace=False) for _ in range(releases)]
    )
    activity = rng.gamma(2.0, 0.5, len(user))
    past, now = rng.poisson(PAST_VISITS * activity), rng.poisson(VISITS * activity)
    visits = int((past + now).max())
    assert visits <= MAX_VISITS  # the lists have enough movies
    place = np.arange(visits)
    is_past, is_visit = place < past[:, None], place < (past + now)[:, None]
    draws = rng.random((len(user), visits))
    times = np.where(is_past, PAST_SECONDS * draws, PAST_SECONDS + WINDOW_SECONDS * draws)
    times = np.sort(np.where(is_visit, times, np.inf), axis=1)
    to_canary = (rng.random(times.shape) < CANARY_SHARE) & ~is_past & is_visit
    exchanged = np.where(now > 0, past + (now * rng.random(len(user))).astype(np.int64), -1)
    release = np.repeat(np.arange(releases), users)
    return Plan(user, release, times, to_canary, exchanged, (SEED, group, 1))


class World(NamedTuple):
    """What was answered and watched; arrays [users x visits], beyond a user's visits undefined.

    Attributes:
        listed: [users x visits x LENGTH] movies.
        chosen: movie.
        at_once: whether the chosen movie was in the list of the visit.
    """

    listed: NDArray[np.int16]
    chosen: Ints
    at_once: Bools


def simulate(pool: Pool, plan: Plan, noise: tuple[float, float | None]) -> World:
    """Let the users live; the same draws whatever is listed."""
    rows, visits = plan.times.shape
    lists = [pool.lists[noise[0] if scale is None else scale][plan.user] for scale in noise]
    seen = np.zeros((rows, len(pool.environment.movies.ids)), np.bool_)
    listed = np.zeros((rows, visits, LENGTH), np.int16)
    chosen = np.zeros((rows, visits), np.int64)
    at_once = np.zeros((rows, visits), np.bool_)
    for visit in range(visits):
        rng = np.random.default_rng([*plan.seed, visit])
        draws = rng.random((rows, DISCOVERIES))
        gumbel = rng.gumbel(0, NOISE_SCALE, (rows, DISCOVERIES + LENGTH))
        here = np.flatnonzero(np.isfinite(plan.times[:, visit]))
        if len(here) == 0:
            continue
        moment = plan.times[here, visit]
        ranked = np.where(plan.to_canary[here, visit, None], lists[1][here], lists[0][here])
        is_seen = seen[here[:, None], ranked]
        first = np.argsort(is_seen, axis=1, kind="stable")[:, :LENGTH]
        shown = np.take_along_axis(ranked, first, axis=1).astype(np.int64)
        found = pool.discover(draws[here], moment)
        movies = np.hstack([found, shown])
        utilities = pool.utilities(plan.user[here], movies, moment)
        was_seen = seen[here[:, None], found]
        column = choose_movies(utilities, found, shown, gumbel[here], was_seen)
        movie = movies[np.arange(len(here)), column]
        seen[here, movie] = True
        listed[here, visit], chosen[here, visit] = shown, movie
        at_once[here, visit] = (shown == movie[:, None]).any(axis=1)
    return World(listed, chosen, at_once)


def credit(plan: Plan, world: World) -> Floats:
    """Takes of each answer within one hour, [users x visits], by the code of `marquee quality`."""
    rows, visits = np.nonzero(np.isfinite(plan.times))
    time_us = (plan.times[rows, visits] * 1e6).astype(np.int64)
    answers = pl.DataFrame(
        {
            "answer": np.arange(len(rows)),
            "user_id": rows,
            "time": time_us,
            "version": np.where(plan.to_canary[rows, visits], CANDIDATE, PRODUCTION),
            "listed": pl.Series(world.listed[rows, visits]),
            "unlisted": pl.Series([None] * len(rows), dtype=pl.List(pl.Int32)),
        }
    ).cast(pl.Schema(ANSWERS))
    watched = pl.DataFrame(
        {
            "user_id": rows,
            "movie": world.chosen[rows, visits],
            "time": time_us + WATCH_DELAY_SECONDS * 1_000_000,
            "minutes": np.full(len(rows), 30),
            "runtime": pl.Series([None] * len(rows), dtype=pl.Int32),
        }
    ).cast(pl.Schema(WATCHED))
    credited = credit_watches(answers, watched).filter(pl.col("delay") <= HORIZONS["1h"])
    takes = np.zeros(plan.times.shape)
    takes[rows, visits] = np.bincount(credited["answer"].to_numpy(), minlength=len(rows))
    return takes


def measure(plan: Plan, takes: Floats, release: int) -> Difference:
    """What `marquee quality` would say of one release."""
    rows = np.flatnonzero(plan.release == release)
    times, values, to_canary = plan.times[rows], takes[rows], plan.to_canary[rows]
    is_past, is_now = times < PAST_SECONDS, (times >= PAST_SECONDS) & np.isfinite(times)
    asked = is_now.any(axis=1)
    user = np.cumsum(asked) - 1
    return compare(
        Outcomes(
            np.repeat(user, is_now.sum(axis=1)),
            to_canary[is_now],
            values[is_now],
            (values * is_past).sum(axis=1)[asked],
            is_past.sum(axis=1)[asked].astype(float),
        )
    )


class Truth(NamedTuple):
    """Means per answer of what the exchange of one answer of each user changes.

    Attributes:
        credited: of the takes credited to it, candidate minus production.
        at_once: of what is watched at once.
        standard_error: of `credited`.
    """

    credited: float
    at_once: float
    standard_error: float


class Group(NamedTuple):
    """Releases that were simulated together.

    Attributes:
        measured: of each release.
        effects: [2 x users] of `credited` and `at_once`, times the number of the user's answers.
        answers: in the windows of all; 0: the effects were not simulated.
        promoted: difference of two worlds with one version each; None: not simulated.
    """

    measured: list[Difference]
    effects: Floats
    answers: int
    promoted: float | None


def run_group(
    pool: Pool, noise: tuple[float, float | None], number: int, releases: int, users: int
) -> Group:
    """Simulate some releases, and their truths unless both versions are the same."""
    plan = draw_plan(pool, number, releases, users)
    in_window = (plan.times >= PAST_SECONDS) & np.isfinite(plan.times)
    world = simulate(pool, plan, noise)
    takes = credit(plan, world)
    measured = [measure(plan, takes, release) for release in range(releases)]
    answers = int(in_window.sum())
    if noise[1] is None:
        return Group(measured, np.zeros((2, 1)), answers, 0.0)
    if number % TRUTH_EVERY:
        return Group(measured, np.zeros((2, 0)), 0, None)
    rows = np.flatnonzero(plan.exchanged >= 0)
    places = plan.exchanged[rows]
    to_canary = plan.to_canary.copy()
    to_canary[rows, places] ^= True
    other_plan = plan._replace(to_canary=to_canary)
    other = simulate(pool, other_plan, noise)
    weight = np.where(plan.to_canary[rows, places], 1, -1) * in_window.sum(axis=1)[rows]
    pairs = (
        (takes, credit(other_plan, other)),
        (world.at_once.astype(float), other.at_once.astype(float)),
    )
    effects = np.array([weight * (a[rows, places] - b[rows, places]) for a, b in pairs])
    promoted = None
    if number % PROMOTED_EVERY == 0:
        means = []
        for everywhere in (in_window, np.zeros_like(in_window)):
            one = plan._replace(to_canary=everywhere)
            means.append(credit(one, simulate(pool, one, noise))[in_window].mean())
        promoted = float(means[0] - means[1])
    return Group(measured, effects, answers, promoted)


def compute_truth(groups: list[Group]) -> Truth:
    """The mean effect of an answer of all groups."""
    answers = sum(group.answers for group in groups)
    effects = np.hstack([group.effects for group in groups])
    credited, at_once = (effects.sum(axis=1) / answers).tolist()
    return Truth(credited, at_once, math.sqrt(float((effects[0] ** 2).sum())) / answers)


def judge(found: Difference) -> str:
    """The outcome of the rule of a release."""
    takes = found.candidate * found.candidate_answers + found.production * found.production_answers
    values = (found.candidate, found.production, found.difference, found.standard_error)
    counts = (found.candidate_answers, round(takes), found.users)
    return judge_quality(QualityDifference(*values, *counts, found.skewness), Limits()).outcome


def run_cell(pool: Pool, name: str, releases: int, users: int) -> dict[str, Any]:
    """Simulate the releases of one kind of candidate."""
    started, used = time.monotonic(), time.process_time()
    groups = [
        run_group(pool, NOISE[name], number, min(GROUP, releases - start), users)
        for number, start in enumerate(range(0, releases, GROUP))
    ]
    truth = compute_truth(groups)
    found = [one for group in groups for one in group.measured]
    intervals = np.array([one.interval() for one in found])
    outcomes = [judge(one) for one in found]
    failed = outcomes.count("failed")
    ratio = [(one.standard_error / one.unpaired_standard_error) ** 2 for one in found]

    def held(value: float) -> float:
        return float(((intervals[:, 0] <= value) & (value <= intervals[:, 1])).mean())

    return {
        "cell": name,
        "releases": releases,
        "canary_answers": float(np.mean([one.candidate_answers for one in found])),
        "take_rate": float(np.mean([one.production for one in found])),
        "truth": truth.credited,
        "truth_standard_error": truth.standard_error,
        "measured": float(np.mean([one.difference for one in found])),
        "held": held(truth.credited),
        "missed_below": float((intervals[:, 1] < truth.credited).mean()),
        "missed_above": float((intervals[:, 0] > truth.credited).mean()),
        "failed": failed / releases,
        "failed_bound": upper_bound(failed, releases),
        "passed": outcomes.count("passed") / releases,
        "undecided": outcomes.count("undecided") / releases,
        "at_once": truth.at_once,
        "held_at_once": held(truth.at_once),
        "promoted": float(np.mean([g.promoted for g in groups if g.promoted is not None])),
        "variance_ratio": float(np.mean(ratio)),
        "seconds": round(time.monotonic() - started, 1),
        "cpu_seconds": round(time.process_time() - used, 1),
    }


def find_missed(rows: list[dict[str, Any]]) -> list[str]:
    """The targets that were missed."""
    missed = [
        f"{row['cell']}: {row['held']:.1%} of the intervals hold the truth"
        for row in rows
        if not 0.93 <= row["held"] <= 0.97
    ]
    return missed + [
        f"{row['cell']}: {row['failed']:.1%} alarms"
        for row in rows
        if row["cell"] == "itself" and row["failed"] > MAX_ALARMS
    ]


def main() -> int:
    """Run all cells and print the table."""
    assert __doc__ is not None
    parser = argparse.ArgumentParser("python -m bench.quality_simulated")
    parser.add_argument("--releases", type=int, default=1000)
    parser.add_argument("--users", type=int, default=USERS, help="of a release")
    parser.add_argument("--json", action="store_true", help="print JSON")
    arguments = parser.parse_args()
    environment = Environment(EnvironmentSettings(seed=SEED, days=DAYS))
    pool = Pool(environment, max(POOL, arguments.users))
    rows = []
    for name in NOISE:
        rows.append(run_cell(pool, name, arguments.releases, arguments.users))
        print(json.dumps(rows[-1]), file=sys.stderr, flush=True)
    missed = find_missed(rows) if arguments.releases >= MIN_RELEASES else []
    if arguments.json:
        print(json.dumps({"rows": rows, "missed": missed}))
    else:
        names = list(rows[0])
        print("| " + " | ".join(names) + " |\n|" + "---|" * len(names))
        for row in rows:
            cells = [f"{v:.4g}" if isinstance(v, float) else str(v) for v in row.values()]
            print("| " + " | ".join(cells) + " |")
        print(f"\nmissed: {'; '.join(missed) or 'none'}")
    return 1 if missed else 0


if __name__ == "__main__":
    sys.exit(main())
