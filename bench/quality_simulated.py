"""The online quality measured in a release, against the truth of the simulator.

    python -m bench.quality_simulated [--releases N] [--json]

The users of `marquee simulate` choose among what is recommended and what they discover, and a fifth
of the requests go to the canary. At each of them the user also chooses, with the same draws, from
the list of the other version: the truth is the mean difference of all releases. Measured is what
the code of `marquee quality` credits and compares. Lists have the best movies by true utility plus
noise; the worse canary has more noise, and `itself` is the version in production.
"""

import argparse
import json
import sys
import time
from collections import defaultdict
from dataclasses import dataclass
from typing import Any

import numpy as np
import polars as pl

from app.quality.credit import ANSWERS, HORIZONS, WATCHED, credit_watches
from app.quality.estimate import Difference, Outcomes, compare
from app.simulator.arrivals import Arrival
from app.simulator.choice_model import choose_movie
from app.simulator.environment import Environment, EnvironmentSettings

SEED = 20_260_901
USERS, VISITS, PAST_VISITS = 250, 5, 3
CANARY_SHARE = 0.2
PRODUCTION, CANDIDATE = 7, 8
LENGTH, RANKED = 20, 100
PAST_SECONDS, WINDOW_SECONDS = 3 * 86_400, 43_200
#: Noise of production's and the canary's lists; None: the same lists.
NOISE: dict[str, tuple[float, float | None]] = {
    "itself": (1.0, None),
    "worse": (1.0, 2.0),
    "better": (2.0, 1.0),
}


@dataclass(frozen=True)
class Visit:
    """A request: user, second, seed of the user's choice, and whether the canary gets it."""

    user: int
    time: float
    seed: int
    to_canary: bool


class Release:
    """One release with users and visits of its own.

    Args:
        environment: movies and users.
        noise: of the lists of production and candidate.
        number: of the release.
    """

    def __init__(
        self, environment: Environment, noise: tuple[float, float | None], number: int
    ) -> None:
        self._environment = environment
        self._noise = dict(zip((PRODUCTION, CANDIDATE), noise, strict=True))
        rng = np.random.default_rng([SEED, number])
        users = rng.choice(1_000_000, USERS, replace=False) + 1
        self._number = number
        self._lists: dict[tuple[int, int], list[int]] = {}
        self._visits = self._draw_visits(rng, users)

    def _draw_visits(self, rng: np.random.Generator, users: Any) -> list[Visit]:
        activity = rng.gamma(2.0, 0.5, len(users))
        visits = []
        for spans, mean in (
            ((0, PAST_SECONDS), PAST_VISITS),
            ((PAST_SECONDS, WINDOW_SECONDS), VISITS),
        ):
            count = rng.poisson(mean * activity)
            user = np.repeat(users, count)
            times = spans[0] + spans[1] * rng.random(len(user))
            canary = rng.random(len(user)) < CANARY_SHARE
            visits += list(zip(user.tolist(), times.tolist(), canary.tolist(), strict=True))
        visits.sort(key=lambda visit: visit[1])
        return [Visit(u, t, n, c) for n, (u, t, c) in enumerate(visits)]

    def _list_of(self, version: int, user: int, seen: set[int]) -> list[int]:
        """A version's best movies for a user without those watched in the release."""
        noise = self._noise[version]
        if noise is None:
            return self._list_of(PRODUCTION, user, seen)
        key = version, user
        if key not in self._lists:
            rng = np.random.default_rng([SEED, version, user])
            utilities = self._environment.utilities(user, 0)
            scores = utilities + noise * rng.normal(size=len(utilities))
            self._lists[key] = np.argsort(-scores)[:RANKED].tolist()
        return [movie for movie in self._lists[key] if movie not in seen][:LENGTH]

    def run(self) -> tuple[pl.DataFrame, pl.DataFrame, float]:
        """Simulate the release; return answers, watches, and the true difference of the window."""
        watched: defaultdict[int, set[int]] = defaultdict(set)
        answers, watches, gains = [], [], []
        for visit in self._visits:
            is_past, seen = visit.time < PAST_SECONDS, watched[visit.user]
            version = CANDIDATE if visit.to_canary and not is_past else PRODUCTION
            listed = self._list_of(version, visit.user, seen)
            movie = self._choose(visit, listed, seen)
            if not is_past:
                other = self._list_of(CANDIDATE + PRODUCTION - version, visit.user, seen)
                gain = (movie in listed) - (self._choose(visit, other, seen) in other)
                gains.append(gain if version == CANDIDATE else -gain)
            time_us = round(visit.time * 1e6)
            answers.append((visit.seed, visit.user, time_us, version, listed, None))
            if movie is not None:
                seen.add(movie)
                watches.append((visit.user, movie, time_us + 30_000_000, 30, None))
        answered, began = (
            pl.DataFrame(rows, schema={**schema, "time": pl.Int64()}, orient="row").cast(
                pl.Schema(schema)
            )
            for rows, schema in ((answers, ANSWERS), (watches, WATCHED))
        )
        return answered, began, float(np.mean(gains))

    def _choose(self, visit: Visit, listed: list[int], seen: set[int]) -> int | None:
        """What the user watches; the same draws whatever is listed."""
        rng = np.random.default_rng([SEED, self._number, visit.seed])
        user, time = visit.user, visit.time
        arrival = Arrival(visit.seed, time, time, user, str(user), False, rng)
        return choose_movie(self._environment, arrival, listed, seen).movie


def value_answers(answers: pl.DataFrame, watched: pl.DataFrame) -> pl.DataFrame:
    """Add the credited watches within one hour to the answers."""
    credited = credit_watches(answers, watched).filter(pl.col("delay") <= HORIZONS["1h"])
    takes = credited.group_by("answer").agg(takes=pl.len().cast(pl.Float64))
    return answers.join(takes, on="answer", how="left").with_columns(pl.col("takes").fill_null(0.0))


def measure(release: Release) -> tuple[Difference, float]:
    """The measured difference of a release, and the true one."""
    start = pl.lit(PAST_SECONDS * 1_000_000).cast(pl.Duration("us"))
    is_past = (pl.col("time") - pl.lit(0).cast(pl.Datetime("us"))) < start
    answers, watched, truth = release.run()
    valued = value_answers(answers, watched)
    now, past = valued.filter(~is_past), valued.filter(is_past)
    users = now.select(pl.col("user_id").unique().sort()).with_row_index("user")
    before = past.group_by("user_id").agg(sum=pl.col("takes").sum(), count=pl.len())
    known = users.join(before, on="user_id", how="left").sort("user").fill_null(0)
    rows = now.join(users, on="user_id")
    found = compare(
        Outcomes(
            rows["user"].to_numpy().astype(np.int64),
            rows["version"].to_numpy() == CANDIDATE,
            rows["takes"].to_numpy(),
            known["sum"].to_numpy().astype(float),
            known["count"].to_numpy().astype(float),
        )
    )
    return found, truth


def run_cell(name: str, releases: int) -> dict[str, Any]:
    """Simulate the releases of one kind of candidate."""
    started = time.monotonic()
    environment = Environment(EnvironmentSettings(seed=SEED, days=5))
    measured = [measure(Release(environment, NOISE[name], n)) for n in range(releases)]
    truths = np.array([truth for _, truth in measured])
    truth = float(truths.mean())
    found = [one for one, _ in measured]
    intervals = np.array([one.interval() for one in found])
    ratio = [(one.standard_error / one.unpaired_standard_error) ** 2 for one in found]
    return {
        "cell": name,
        "releases": releases,
        "canary_answers": float(np.mean([one.candidate_answers for one in found])),
        "take_rate": float(np.mean([one.production for one in found])),
        "truth": truth,
        "truth_standard_error": float(truths.std(ddof=1) / np.sqrt(releases)),
        "measured": float(np.mean([one.difference for one in found])),
        "held": float(((intervals[:, 0] <= truth) & (truth <= intervals[:, 1])).mean()),
        "below": float((intervals[:, 1] < 0).mean()),
        "above": float((intervals[:, 0] > 0).mean()),
        "variance_ratio": float(np.mean(ratio)),
        "seconds": round(time.monotonic() - started, 1),
    }


def main() -> int:
    """Run all cells and print the table."""
    parser = argparse.ArgumentParser("python -m bench.quality_simulated")
    parser.add_argument("--releases", type=int, default=1000)
    parser.add_argument("--json", action="store_true", help="print JSON")
    arguments = parser.parse_args()
    rows = [run_cell(name, arguments.releases) for name in NOISE]
    if arguments.json:
        print(json.dumps(rows))
        return 0
    names = list(rows[0])
    print("| " + " | ".join(names) + " |\n|" + "---|" * len(names))
    for row in rows:
        cells = [f"{v:.4g}" if isinstance(v, float) else str(v) for v in row.values()]
        print("| " + " | ".join(cells) + " |")
    return 0


if __name__ == "__main__":
    sys.exit(main())
