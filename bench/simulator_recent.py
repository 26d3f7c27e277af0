"""True utility of recommendations with and without recent events, by the number of movies watched.

A model of the sample answers in a simulation of some days twice, with and without recent events.
Then the lists of the users of the first run are compared with their best possible lists, at the end
of that run: the stored list, without watched movies, and the one that depends on their events.

    python -m bench.simulator_recent [--rate 0.1] [--days 2] [--json] [--quick]
"""

import argparse
import json
import math
import os
import subprocess
import sys
import tempfile
from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np

from app import logs
from app.model.recommendation_lists import RecommendationLists
from app.recent_events import KEPT_MOVIES
from app.settings import read_settings
from app.simulator import paired_evaluation
from app.simulator.environment import Environment, EnvironmentSettings
from app.simulator.movies import DAY_SECONDS
from app.simulator.sample_data import FloatArray
from app.training.recent_events import RecentEvents, read_recent_events
from bench.simulator_cold_start import MARQUEE, marquee
from bench.training.movielens import ROOT

#: Bounds of the groups of users by the movies they watched since the model was made.
_GROUPS = (1, 2, 3, 5, 9, 17, 1000)
_RETENTION_DAYS = 7
#: Two-sided 95 % of the normal distribution.
_INTERVAL = 1.96


def main() -> int:
    """Measure and print."""
    assert __doc__ is not None
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--rate", type=float, default=0.1, help="requests a second")
    parser.add_argument("--days", type=float, default=2.0, help="simulated days")
    parser.add_argument("--json", action="store_true", help="print JSON")
    parser.add_argument("--quick", action="store_true", help="fewer requests")
    options = parser.parse_args()
    logs.set_up(read_settings(log_level="error"))
    result = measure(0.02 if options.quick else options.rate, options.days)
    print(json.dumps(result) if options.json else format_tables(result))
    return 0


def measure(rate: float, days: float) -> dict[str, Any]:
    """Return the summaries of both runs, and one row for each group of users."""
    with tempfile.TemporaryDirectory(prefix="marquee-bench-") as name:
        directory = Path(name)
        model, log = directory / "model", directory / "stream.log"
        marquee("train", "--tables", ROOT / "data" / "sample", "--out", model)
        arguments = ["--model", model, "--days", days, "--rate", rate, "--new-users", 0.2, "--json"]
        runs = {
            "without": _simulate(*arguments, "--out", log),
            "with": _simulate(*arguments, "--recent"),
        }
        return {"rate": rate, "days": days, "runs": runs, "groups": _compare(model, log, days)}


def _simulate(*arguments: object) -> dict[str, Any]:
    command = [str(MARQUEE), "simulate", *map(str, arguments)]
    environment = os.environ | {"MARQUEE_LOG_LEVEL": "error"}
    done = subprocess.run(command, check=True, stdout=subprocess.PIPE, env=environment)
    summary: dict[str, Any] = json.loads(done.stdout)
    return summary


def _compare(model: Path, log: Path, days: float) -> list[dict[str, Any]]:
    environment = Environment(EnvironmentSettings())
    lists = RecommendationLists.open(model, paired_evaluation.MAX_LIST_LENGTH)
    events = read_recent_events(
        log, lists.movie_ids, (1, 5), KEPT_MOVIES, _RETENTION_DAYS * DAY_SECONDS
    )
    index = [environment.movies.index[movie_id] for movie_id in lists.movie_ids]
    new = {
        user: {index[event.movie] for event in rows if event.movie >= 0}
        for user, rows in events.by_user.items()
    }
    users = list(new)
    watched = {user: new[user] | {index[m] for m in _get_seen(lists, user)} for user in users}
    best = paired_evaluation.best_utilities(environment, users, watched, days * DAY_SECONDS)
    stored = paired_evaluation.list_utilities(
        environment, model, users, watched, days * DAY_SECONDS
    )
    recent = _recent_utilities(environment, lists, events, index, days * DAY_SECONDS)
    counts = np.array([len(new[user]) for user in users])
    is_known = np.isin(users, lists.user_ids)
    rows = []
    for known, name in ((False, "unknown"), (True, "known")):
        for low, high in pairwise(_GROUPS):
            group = (is_known == known) & (counts >= low) & (counts < high)
            if group.sum() > 1:
                label = _label(low, high)
                shares = _shares(stored[group], recent[group], best[group])
                rows.append({"users": name, "watched": label, "number": int(group.sum()), **shares})
    return rows


def _get_seen(lists: RecommendationLists, user: int) -> list[int]:
    assert lists.recent is not None
    numbers: list[int] = lists.recent.get_seen(user).tolist()
    return numbers


def _recent_utilities(
    environment: Environment,
    lists: RecommendationLists,
    events: RecentEvents,
    index: list[int],
    time: float,
) -> FloatArray:
    """Return what `list_utilities` does, for the lists that depend on the events."""
    listed = np.full((len(events.by_user), paired_evaluation.LENGTH), np.nan)
    for row, user in enumerate(events.by_user):
        own = events.get(user)
        found = lists.rank_recent(user, own.kept.events, own.now, own.kept.older)
        movies = found[1].movies if found else lists.get_numbers(user)
        movies = movies[: paired_evaluation.LENGTH]
        listed[row, : len(movies)] = environment.utilities(user, time)[[index[m] for m in movies]]
    return listed


def _shares(stored: FloatArray, recent: FloatArray, best: FloatArray) -> dict[str, Any]:
    """Return the share of the best list's utility of both lists, and of their difference."""
    best_means = best.mean(axis=1)
    means = {"without": np.nanmean(stored, axis=1), "with": np.nanmean(recent, axis=1)}
    means["difference"] = means["with"] - means["without"]
    return {name: _share(values, best_means) for name, values in means.items()}


def _share(values: FloatArray, best: FloatArray) -> list[float]:
    """Return a ratio of means, and half the width of its interval (95 %)."""
    share = float(values.mean() / best.mean())
    error = float((values - share * best).std(ddof=1)) / math.sqrt(len(values)) / best.mean()
    return [round(share, 4), round(_INTERVAL * error, 4)]


def _label(low: int, high: int) -> str:
    return str(low) if high == low + 1 else f"{low}-{high - 1}"


def format_tables(result: dict[str, Any]) -> str:
    """Return both tables in Markdown."""
    lines = ["| users | movies watched | number | without | with | difference |"]
    lines.append("|---|---|---|---|---|---|")
    for row in result["groups"]:
        pairs = (row[name] for name in ("without", "with", "difference"))
        shares = " | ".join(f"{100 * a:.1f} ± {100 * b:.1f} %" for a, b in pairs)
        lines.append(f"| {row['users']} | {row['watched']} | {row['number']:,} | {shares} |")
    lines += [
        "",
        "| run | choices | utility of the chosen movie | share of best | gain |",
        "|---|---|---|---|---|",
    ]
    for name, run in result["runs"].items():
        for row in run["versions"].values():
            share = f"{100 * row['share_of_best']:.1f} %"
            gain = f"{row['gain']:.3f} ± {_INTERVAL * row['gain_standard_error']:.3f}"
            lines.append(
                f"| {name} | {row['choices']:,} | {row['recommended']:.3f} | {share} | {gain} |"
            )
    return "\n".join(lines)


if __name__ == "__main__":
    sys.exit(main())
