"""Next-movie recommendations with recent events, replayed in the order of time.

    python -m bench.training.replay [RATINGS_CSV] [--tables DIR] [--quick] [--json]

The models are trained on the oldest 75 % of the events; every later event is to be found among 20
recommended movies. Compared are today's lists, popular movies and EASE with all of a user's earlier
events, and the whole model retrained with them. --tables: prepared tables of a log on which nothing
was tuned, such as that of a simulation
(the page has the commands). Writes docs/benchmarks-replay.md and docs/replay.png unless
--quick, which measures fewer events.
"""

import argparse
import json
import sys
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from app.recent_events import KEPT_MOVIES, OLDER_MOVIES, RecentEvent
from app.training.fit import fit_models
from app.training.interactions import Interactions
from app.training.load import load_interactions
from app.training.params import Params, read_params
from app.training.ranking.popularity import resolve_auto
from app.training.replay import LAGS, LENGTH, Outcome, replay
from app.training.stages import Stages
from app.training.tuning.replay_evaluator import ReplayEvaluator, format_lag
from bench.training.movielens import ROOT, SCALE, find_ratings, read_ratings
from bench.training.page import describe_machine
from bench.training.replay_baselines import (
    MISS,
    History,
    Indices,
    ScoreUsers,
    find_places,
    find_places_retrained,
    score_ease,
    score_model,
    score_popular,
    score_unseen,
)
from bench.training.replay_page import draw_lags, replay_page

#: Older movies that are kept of each user, and the row of each: none, and by default.
KEPT = {
    0: f"recent events, {KEPT_MOVIES} movies kept",
    OLDER_MOVIES: f"recent events, {KEPT_MOVIES} movies and {OLDER_MOVIES} older ones kept",
}
RETRAININGS = 20
#: Events that are evaluated for each lag but the first, drawn at random.
LATER_LAG_EVENTS = 8000
#: Movies known of unknown users, and the number of next movies that are to be found.
FEW, NEXT = (1, 2, 3, 5, 10), 20
Row = dict[str, float]


def main() -> int:
    """Measure, print, and write the page; exit status 1 if a target is missed."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("ratings", type=Path, nargs="?", default=find_ratings())
    parser.add_argument("--tables", type=Path, help="prepared tables of another log")
    parser.add_argument("--quick", action="store_true", help="fewer events, no page")
    parser.add_argument("--json", action="store_true", help="print JSON")
    options = parser.parse_args()
    if not options.ratings.is_file():
        print(json.dumps({"skipped": "no ratings"}) if options.json else "skipped: no ratings")
        return 0
    result: dict[str, Any] = {"machine": describe_machine(), "command": _describe(options)}
    result["data"] = {
        "ml-latest-small": measure(read_ratings(options.ratings), SCALE, options.quick)
    }
    if options.tables:
        tables = [options.tables / f"{name}.parquet" for name in ("ratings", "watches")]
        events = load_interactions(tables[0], tables[1], (1, 5))
        result["data"]["simulated"] = measure(events, (1, 5), options.quick)
    rows = result["data"]["ml-latest-small"]["lags"][0]["rows"]
    result["missed"] = {str(older): find_missed(rows, name) for older, name in KEPT.items()}
    result["passed"] = not result["missed"][str(OLDER_MOVIES)]
    page = replay_page(result)
    if not options.quick:
        (ROOT / "docs" / "benchmarks-replay.md").write_text(page, encoding="utf-8")
        draw_lags(
            {"ml-latest-small": result["data"]["ml-latest-small"]}, ROOT / "docs" / "replay.png"
        )
    print(json.dumps(result) if options.json else page)
    return 0 if result["passed"] else 1


def _describe(options: argparse.Namespace) -> str:
    return "python -m bench.training.replay" + (" --tables DIR" if options.tables else "")


def measure(events: Interactions, scale: tuple[float, float], quick: bool) -> dict[str, Any]:
    """Return the hit rates and nDCG of each method, by lag and by number of movies known."""
    params = read_params(ROOT / "params.yaml")
    history = History(events, params, scale)
    params = resolve_auto(params, history.train())
    evaluator = ReplayEvaluator(events, params, scale, 0, max_events=None)
    evaluator.use(params.recent)
    order = np.random.default_rng(0).permutation(len(history.held_out))
    models = fit_models(history.train(), params, scale, Stages())
    baselines = {
        "popular movies, without those watched": score_popular(models),
        "EASE, every event folded in": score_ease(models),
    }
    lags, few = [], []
    for lag in LAGS:
        count = 1000 if quick else len(order) if lag == LAGS[0] else LATER_LAG_EVENTS
        chosen = np.sort(order[:count])
        evaluator.log.evaluated[:] = False
        evaluator.log.evaluated[chosen] = True
        known = history.is_known()[history.user[history.held_out[chosen]]]
        visible, queries = history.count_visible(lag), history.held_out[chosen]
        places = {"today's lists": _places(replay(evaluator.lists, evaluator.log, None))}
        for name, score in baselines.items():
            places[name] = find_places(history, queries, visible[queries], score)
        for older, name in KEPT.items():
            found = replay(evaluator.lists, evaluator.log, lag, older_movies=older)
            places[name] = _places(found)
        if lag == LAGS[0]:
            places["model retrained with them"] = _retrained(history, params, lag, chosen, quick)
            few = _group_by_movies(places, ~known, visible[queries])
        rows = _rows(places, known)
        lags.append(
            {
                "lag": format_lag(lag),
                "events": len(chosen),
                "known": float(known.mean()),
                "rows": rows,
            }
        )
        print(json.dumps(lags[-1]), file=sys.stderr)
    return {
        "events": {k: v for k, v in events.describe().items() if k != "data_hash"},
        "held_out": len(order),
        "lags": lags,
        "few": few,
        "few_next_20": measure_few(history, params, evaluator, baselines, quick),
    }


def _places(outcome: Outcome) -> Indices:
    return np.where(outcome.position < 0, MISS, outcome.position)


def _retrained(
    history: History, params: Params, lag: float, chosen: Indices, quick: bool
) -> Indices:
    places = np.full(len(history.user), MISS, np.int64)
    rounds = 2 if quick else RETRAININGS
    for queries, found in find_places_retrained(history, params, lag, rounds):
        places[queries] = found
    return places[history.held_out[chosen]]


def _rows(places: dict[str, Indices], known: NDArray[np.bool_]) -> dict[str, dict[str, Row]]:
    groups = {"all": np.ones(len(known), bool), "known": known, "unknown": ~known}
    return {
        name: {group: _metrics(found[mask]) for group, mask in groups.items() if mask.any()}
        for name, found in places.items()
    }


def _group_by_movies(
    places: dict[str, Indices], unknown: NDArray[np.bool_], visible: Indices
) -> list[dict[str, Any]]:
    """Return the metrics of unknown users' events before which so many movies were known."""
    groups = []
    for count in FEW:
        chosen = unknown & (visible == count)
        if chosen.any():
            rows = {name: _metrics(found[chosen]) for name, found in places.items()}
            groups.append({"movies": count, "events": int(chosen.sum()), "rows": rows})
    return groups


def _metrics(places: Indices) -> Row:
    hits = places < LENGTH
    gains = np.where(hits, 1 / np.log2(np.minimum(places, LENGTH) + 2.0), 0)
    return {"hit_rate": float(hits.mean()), "ndcg": float(gains.mean())}


def measure_few(
    history: History,
    params: Params,
    evaluator: ReplayEvaluator,
    baselines: dict[str, ScoreUsers],
    quick: bool,
) -> list[dict[str, Any]]:
    """Return the metrics for unknown users of whom a few movies are known: their next 20 movies."""
    unknown = np.flatnonzero(~history.is_known())
    result = []
    for count in FEW[:2] if quick else FEW:
        users = unknown[np.diff(history.events.start)[unknown] > count]
        if not len(users):
            break
        models = fit_models(history.train_with_first(count), params, history.scale, Stages())
        methods = {**baselines, "model retrained with them": score_model(models, params)}
        places = {name: _next_by_scores(history, users, count, s) for name, s in methods.items()}
        own, recent = _next_by_ranking(history, users, count, evaluator)
        places = {"today's lists": own, **places, "recent events": recent}
        rows = {name: _metrics(found) for name, found in places.items()}
        result.append({"movies": count, "users": len(users), "events": len(own), "rows": rows})
        print(json.dumps(result[-1]), file=sys.stderr)
    return result


def _next_by_scores(history: History, users: Indices, count: int, score: ScoreUsers) -> Indices:
    scores = score_unseen(history, users, np.full(len(users), count), score)
    places = []
    for row, user in enumerate(users.tolist()):
        own = scores[row, _next_movies(history, user, count)]
        places.append((scores[row][None, :] > own[:, None]).sum(axis=1))
    return np.concatenate(places)


def _next_by_ranking(
    history: History, users: Indices, count: int, evaluator: ReplayEvaluator
) -> tuple[Indices, Indices]:
    """Return the places in today's lists, and in those with recent events."""
    lists, ranking = evaluator.lists, evaluator.lists.recent
    assert ranking is not None
    by_user = dict(zip(evaluator.log.users, evaluator.log.events, strict=True))
    numbers = {name: number for number, name in enumerate(lists.movie_ids)}
    own, recent = [], []
    for user in users.tolist():
        user_id = int(history.events.users[user])
        events: list[RecentEvent] = by_user[user_id][:count][::-1]
        shown = ranking.rank(user_id, events, events[0].time + LAGS[0], LENGTH).movies
        stored = lists.get_numbers(user_id)
        for movie in _next_movies(history, user, count).tolist():
            number = numbers.get(history.events.movies[movie], -1)
            own.append(stored.index(number) if number in stored else MISS)
            recent.append(shown.index(number) if number in shown else MISS)
    return np.array(own), np.array(recent)


def _next_movies(history: History, user: int, count: int) -> Indices:
    first, last = history.events.start[user : user + 2]
    return history.movie[first + count : min(last, first + count + NEXT)]


def find_missed(rows: dict[str, dict[str, Row]], row: str) -> list[str]:
    """Return the targets at a lag of a second that a row misses, with the ratio to each."""
    ours = rows[row]["all"]
    targets = (
        ("EASE, every event folded in", {"hit_rate": 1.0, "ndcg": 1.0}),
        ("model retrained with them", {"hit_rate": 0.95, "ndcg": 0.95}),
        ("today's lists", {"hit_rate": 2.0, "ndcg": 2.5}),
    )
    return [
        f"{key.replace('_', ' ')} {ours[key] / rows[name]['all'][key]:.2f} times that of: {name}"
        for name, factors in targets
        for key, factor in factors.items()
        if ours[key] < factor * rows[name]["all"][key]
    ]


if __name__ == "__main__":
    sys.exit(main())
