"""How often the fairness report finds a bias that is known, and how often one that is not there.

A model of MovieLens (ml-latest-small, a quarter of each user's ratings held out) is trained twice,
with two seeds of the model. In each of 100 rounds the users get generated attributes, and a share
of the places in the lists of one age band is filled with movies drawn at random: that band is
served worse, and no group of the other attributes is, except those that differ by activity. Models
and finished rounds are kept in build/fairness-rates, so that an interrupted run goes on where it
was; those of other code begin anew.

    python -m bench.fairness_rates [--seeds 100] [--quick] [--json]
"""

import argparse
import hashlib
import json
import sys
from collections import Counter
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy import stats

from app.atomic_files import write_file
from app.fairness.page import find_differences
from app.fairness.params import FairnessParams
from app.fairness.report import compare_groups
from app.fairness.user_groups import Labels, get_strata, name_activity
from app.fairness.users_side import UserMetrics, describe_groups
from app.training.fit import fit_models
from app.training.params import read_params, replace_params
from app.training.ranking_metrics import ranking_metrics
from app.training.stages import Stages
from app.training.top_n import SeenMovies, fill_lists
from app.training.tuning.splits import Split, random_split
from bench.training.movielens import ROOT, SCALE, find_ratings, read_ratings

DIRECTORY = ROOT / "build" / "fairness-rates"
#: Modules that only read and print.
_NOT_JUDGING = {"commands.py", "page.py", "ranking_page.py", "shown_events.py"}
_K, _MAX_REGRESSION = 10, 0.1
#: Shares of the places in the lists of the harmed band that are filled at random.
_STRENGTHS = (0.0, 0.1, 0.25, 0.5)
_AGES = ("18-24", "25-34", "35-44", "45-54")
_HARMED = _AGES[0]
#: Groups without any bias, whatever the strength.
_UNBIASED = ("gender", "occupation")
_OCCUPATIONS = 10
#: Permutations decide; a report has more of them.
_PARAMS = FairnessParams(min_users=30, resamples=300, significance=0.05)

Shown = NDArray[np.int64]


def main() -> int:
    """Measure and print."""
    assert __doc__ is not None
    parser = argparse.ArgumentParser("python -m bench.fairness_rates", description=__doc__)
    parser.add_argument("--seeds", type=int, default=100)
    parser.add_argument("--quick", action="store_true", help="three seeds")
    parser.add_argument("--json", action="store_true", help="print JSON")
    options = parser.parse_args()
    if not find_ratings().is_file():
        print(f"skipped: no MovieLens at {find_ratings()} (set MARQUEE_SHARED_DATA)")
        return 0
    result = measure(3 if options.quick else options.seeds)
    print(json.dumps(result) if options.json else format_table(result))
    return 0


def measure(seeds: int) -> dict[str, Any]:
    """Return the rates by strength of the bias."""
    split = random_split(read_ratings(find_ratings()), 0)
    directory = DIRECTORY / _hash_code()
    before, candidate = (_get_lists(split, seed, directory) for seed in (0, 1))
    found = {strength: Counter[str]() for strength in _STRENGTHS}
    for seed in range(seeds):
        path = directory / f"round-{seed}.json"
        if not path.is_file():
            content = {s: run_round(split, before, candidate, s, seed) for s in _STRENGTHS}
            write_file(path, json.dumps(content).encode())
        for strength, names in json.loads(path.read_bytes()).items():
            found[float(strength)].update(names)
    rows = [
        {"strength": strength, **{name: counts[name] / seeds for name in _NAMES}}
        for strength, counts in found.items()
    ]
    users = len(split.users)
    return {"users": users, "movies": len(split.train.movies), "seeds": seeds, "rows": rows}


def _hash_code() -> str:
    """A hash of the code that a round is a function of."""
    files = [Path(__file__), *sorted((ROOT / "app" / "fairness").glob("*.py"))]
    judging = [path for path in files if path.name not in _NOT_JUDGING]
    return hashlib.sha256(b"".join(path.read_bytes() for path in judging)).hexdigest()[:12]


def _get_lists(split: Split, seed: int, directory: Path) -> Shown:
    path = directory / f"lists-{seed}.npy"
    if not path.is_file():
        directory.mkdir(parents=True, exist_ok=True)
        np.save(path, recommend(split, seed))
    lists: Shown = np.load(path)
    return lists


def recommend(split: Split, seed: int) -> Shown:
    """Return the movie numbers [Q, k] that a model recommends to the users of a split."""
    days = {"popularity.half_life_days": 500.0, "seed": seed}
    base = read_params(ROOT / "params.yaml").model_copy(update={"seed": days.pop("seed")})
    params = replace_params(base, days)
    models = fit_models(split.train, params, SCALE, Stages())
    lists = np.empty((len(split.train.users), params.lists.depth), np.int64)
    seen = SeenMovies(split.train.start, split.train.movie)
    scorer = models.build_scorer(split.train, params)
    fill_lists(lists, scorer, seen, params.lists.block_size)
    return lists[split.users, :_K]


def run_round(
    split: Split, before: Shown, candidate: Shown, strength: float, seed: int
) -> list[str]:
    """Return the names of what was found in one round; see `_NAMES`."""
    rng = np.random.default_rng([seed, int(1000 * strength)])
    activity = np.diff(split.train.start)[split.users]
    groups = draw_attributes(activity, rng)
    harmed = groups["age"] == _HARMED
    shown = [harm(lists, harmed, strength, len(split.train.movies), rng) for lists in
             (before, candidate)]  # fmt: skip
    described = describe_groups(measure_users(split, shown[0], activity), groups, _PARAMS, seed)
    found = []
    for kind in ("difference", "adjusted"):
        differences = {name for name, _, _ in find_differences({"users_side": described}, kind)}
        served = {
            (name, value < 0)
            for name, metric, value in find_differences({"users_side": described}, kind)
            if metric == "ndcg"
        }
        found += [f"found, {kind}"] if (f"age {_HARMED}", True) in served else []
        for attribute in (*_UNBIASED, "by activity group", "by activity"):
            found += [f"{attribute}, {kind}"] if _names(attribute, differences) else []
        unbiased = [_names(attribute, differences) for attribute in _UNBIASED]
        found += [f"false, {kind}"] if any(unbiased) else []
    ndcg = [ndcg_of(split, lists) for lists in (shown[1], before)]
    judged = compare_groups(np.column_stack(ndcg), groups, _MAX_REGRESSION, _PARAMS, seed)
    stopped = {(row["attribute"], row["group"]) for row in judged if row["worse"]}
    found += ["gate, harmed"] if ("age", _HARMED) in stopped else []
    found += ["gate, other"] if stopped - {("age", _HARMED)} else []
    return found


_NAMES = (
    *(
        f"{name}, {kind}"
        for kind in ("difference", "adjusted")
        for name in ("found", "false", "by activity group", "by activity")
    ),
    "gate, harmed",
    "gate, other",
)


def _names(attribute: str, found: set[str]) -> bool:
    return any(name.startswith(f"{attribute} ") for name in found)


def draw_attributes(activity: NDArray[np.int64], rng: np.random.Generator) -> dict[str, Labels]:
    """Draw attributes: without any relation, or related to activity."""
    users, strata = len(activity), get_strata(activity)
    return {
        "gender": rng.choice(["F", "M"], users),
        "age": rng.choice(_AGES, users),
        "occupation": rng.choice([f"occupation {n}" for n in range(_OCCUPATIONS)], users),
        # Related by the groups within which the report compares, and by more than these.
        "by activity group": np.where(rng.random(users) < strata / strata.max() * 0.6, "a", "b"),
        "by activity": np.where(rng.random(users) < np.log(activity + 1) / 8, "a", "b"),
        "activity": name_activity(activity),
    }


def harm(
    lists: Shown, harmed: NDArray[np.bool_], strength: float, movies: int, rng: np.random.Generator
) -> Shown:
    """Fill a share of the places in the lists of some users with movies drawn at random."""
    replaced = harmed[:, None] & (rng.random(lists.shape) < strength)
    return np.where(replaced, rng.integers(movies, size=lists.shape), lists)


def measure_users(split: Split, shown: Shown, activity: NDArray[np.int64]) -> UserMetrics:
    """Return the metrics of the users, as `UserMetrics.of` does."""
    hits, relevant = _find_hits(split, shown)
    metrics = ranking_metrics(hits, relevant)
    counts = np.bincount(split.train.movie, minlength=len(split.train.movies))
    popularity = (counts / len(split.train.users))[shown].mean(axis=1)
    columns = [metrics.ndcg, metrics.recall, popularity]
    return UserMetrics(np.column_stack(columns), shown, activity)


def ndcg_of(split: Split, shown: Shown) -> NDArray[np.float64]:
    """Return the nDCG of each user."""
    return ranking_metrics(*_find_hits(split, shown)).ndcg


def _find_hits(split: Split, shown: Shown) -> tuple[NDArray[np.bool_], NDArray[np.int64]]:
    movies = len(split.test.movies)
    relevant = split.test.user.astype(np.int64) * movies + split.test.movie
    hits = np.isin(split.users[:, None] * movies + shown, relevant)
    return hits, np.diff(split.test.start)[split.users]


def format_table(result: dict[str, Any]) -> str:
    """Format the rates as Markdown."""
    lines = [
        f"{result['users']:,} users, {result['movies']:,} movies, {result['seeds']} rounds for "
        "each strength.",
        "",
        "| places filled at random | found | found, adjusted | false | false, adjusted "
        "| gate stops | gate names another group |",
        "|---|---|---|---|---|---|---|",
    ]
    names = ("found, difference", "found, adjusted", "false, difference", "false, adjusted",
             "gate, harmed", "gate, other")  # fmt: skip
    lines += [_row(row, names) for row in result["rows"]]
    lines += ["", f"False in all rounds: {_sum(result, 'false, difference')}, adjusted "
              f"{_sum(result, 'false, adjusted')}."]  # fmt: skip
    lines += [
        "",
        "| places filled at random | by activity group | adjusted | by activity | adjusted |",
        "|---|---|---|---|---|",
    ]
    related = ("by activity group, difference", "by activity group, adjusted",
             "by activity, difference", "by activity, adjusted")  # fmt: skip
    lines += [_row(row, related) for row in result["rows"]]
    return "\n".join(lines)


def _sum(result: dict[str, Any], name: str) -> str:
    """A rate over all strengths, with its interval (Clopper and Pearson)."""
    rounds = result["seeds"] * len(result["rows"])
    number = round(sum(row[name] for row in result["rows"]) * result["seeds"])
    low, high = stats.binomtest(number, rounds).proportion_ci()
    return f"{number} of {rounds}, {number / rounds:.1%} ({low:.1%} to {high:.1%})"


def _row(row: dict[str, Any], names: tuple[str, ...]) -> str:
    return f"| {row['strength']:.0%} | " + " | ".join(f"{row[name]:.0%}" for name in names) + " |"


if __name__ == "__main__":
    sys.exit(main())
