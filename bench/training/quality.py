"""Quality of the lists on MovieLens beside simpler methods, and for users with few events.

    python -m bench.training.quality [RATINGS_CSV] [--quick] [--json]

Random, per-user temporal and global temporal splits; 25 % held out (temporal: five shares), k = 10,
seen movies left out, every held-out movie is relevant. Plain ALS, ALS by events, EASE and Marquee
are each tuned by the same search on events held out of the training data; nothing is tuned on a
test. Writes docs/benchmarks-quality.md unless --quick.
"""

import argparse
import json
import sys
from pathlib import Path
from typing import Any

import numpy as np

from app.training.interactions import Interactions
from app.training.params import Params, SvdParams, read_params, replace_params
from app.training.ranking_metrics import error_metrics
from app.training.svd import fit_svd
from app.training.tuning.search import SPACE, Budget
from app.training.tuning.split_evaluator import ModelCache, SplitEvaluator
from app.training.tuning.splits import COLD_START_EVENTS, Split, cold_start_split
from app.training.tuning.tune import make_evaluators, make_search, tune
from bench.training import baseline_als
from bench.training.movielens import ROOT, SCALE, find_ratings, make_methods, read_ratings
from bench.training.page import describe_machine, quality_page

#: Trials of the search: Marquee's, and that of each single model.
TRIALS, SINGLE_TRIALS = 150, 24
SHIPPED = read_params(ROOT / "params.yaml")
#: Surprise's own defaults.
SURPRISE = {
    "svd.factors": 100,
    "svd.epochs": 20,
    "svd.learning_rate": 0.005,
    "svd.regularization": 0.02,
}
#: Round values to begin each search with, not tuned on these data.
START = replace_params(
    SHIPPED,
    {
        "recency.half_life_events": 20,
        "recency.ease_share": 0,
        "transitions.window": 5,
        "transitions.damping": 5,
        "als.factors": 64,
        "als.alpha": 2,
        "als.regularization": 0.1,
        "ease.regularization": 200,
        "confidence.lowest_rating": 0.25,
        "popularity.half_life_days": 365,
        "blend.als": 1,
        "blend.ease": 0.8,
        "blend.transitions": 0.3,
        "blend.popularity": 0.05,
        "blend.cold_start": 3,
        "blend.svd": 0,
    },
)
BASELINE = "plain iALS (implicit)"
Row = dict[str, float]
Table = dict[str, dict[str, Any]]


def isolate(params: Params, scorer: str) -> Params:
    """Return these parameters with one scorer only, and without decay of EASE's input."""
    weights = {f"blend.{name}": 0.0 for name in type(params.blend).model_fields}
    return replace_params(params, {**weights, f"blend.{scorer}": 1.0, "recency.ease_share": 0.0})


def main() -> int:
    """Measure, print, and write the page; exit status 1 if the target is missed."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("ratings", type=Path, nargs="?", default=find_ratings())
    parser.add_argument("--quick", action="store_true", help="one seed, few trials, no page")
    parser.add_argument("--json", action="store_true", help="print JSON")
    options = parser.parse_args()
    if not options.ratings.is_file():
        print(json.dumps({"skipped": "no ratings"}) if options.json else "skipped: no ratings")
        return 0
    result = measure(read_ratings(options.ratings), options.quick)
    page = quality_page(result)
    if not options.quick:
        (ROOT / "docs" / "benchmarks-quality.md").write_text(page, encoding="utf-8")
    print(json.dumps(result) if options.json else page)
    return 0 if result["passed"] else 1


def measure(events: Interactions, quick: bool) -> dict[str, Any]:
    """Return all tables."""
    tables, settings = {}, {}
    methods = make_methods(events, quick)
    # A short search on one split is meaningful at random only.
    judged = ("random",) if quick else tuple(methods)
    for name, method in methods.items():
        runs: list[dict[str, Row]] = []
        found: dict[str, Params] = {}
        for test in method.tests:
            assert test is not None
            if method.search_each or not found:
                validation = method.split_training(test.train)
                assert validation is not None
                found = search(validation, quick)
            runs.append(evaluate(test, found))
            print(f"{name}: {len(runs)} of {len(method.tests)}", file=sys.stderr)
        tables[name] = {row: _summary([run[row] for run in runs]) for row in runs[0]}
        settings[name] = {row: _setting(params) for row, params in found.items()}
    return {
        "passed": all(_passed(tables[name]) for name in judged),
        "data": {k: v for k, v in events.describe().items() if k != "data_hash"},
        "machine": describe_machine(),
        "trials": {"marquee": TRIALS, "single": SINGLE_TRIALS},
        "tables": tables,
        "settings": settings,
        "cold_start": evaluate_cold_start(events, 1 if quick else 5),
    }


def search(validation: Split, quick: bool) -> dict[str, Params]:
    """Return the best parameters of each method on a validation split."""
    trials, single_trials = (20, 5) if quick else (TRIALS, SINGLE_TRIALS)

    def search_single(scorer: str, baseline: bool = False) -> Params:
        cache = (baseline_als.BaselineAlsCache if baseline else ModelCache)(validation.train, SCALE)
        space = baseline_als.SPACE if baseline else SPACE
        names = [name for name in space if name.startswith((f"{scorer}.", "confidence."))]
        start = isolate(replace_params(START, baseline_als.START if baseline else {}), scorer)
        search = make_search([SplitEvaluator(validation, cache)], Budget(single_trials), 0)
        return search.run(scorer, start, names, space=space).params

    return {
        BASELINE: search_single("als", baseline=True),
        "ALS by events": search_single("als"),
        "EASE": search_single("ease"),
        "Marquee": tune(
            make_search(make_evaluators([validation], SCALE), Budget(trials), 0), START
        ).best.params,
    }


def evaluate(test: Split, found: dict[str, Params]) -> dict[str, Row]:
    """Return the metrics of each method on one test."""
    all_time = {"popularity.half_life_days": 1e9}
    methods = {
        "most popular": replace_params(isolate(SHIPPED, "popularity"), all_time),
        "Surprise SVD": isolate(replace_params(START, SURPRISE), "svd"),
        **found,
        "params.yaml": SHIPPED,
    }
    cache = ModelCache(test.train, SCALE)
    rows: dict[str, Row] = {}
    for name, params in methods.items():
        baseline = baseline_als.BaselineAlsCache(test.train, SCALE)
        models = baseline if name == BASELINE else cache
        metrics = SplitEvaluator(test, models, max_users=None).evaluate(params)
        rows[name] = {key: metrics[key] for key in ("ndcg", "recall", "coverage")}
        models.evict(params)
    for name in ("Surprise SVD", "Marquee", "params.yaml"):
        rows[name]["rmse"] = _rmse(test, methods[name].svd)
    return rows


def _rmse(test: Split, params: SvdParams) -> float:
    model = fit_svd(test.train, params, SCALE, 0)
    assert model is not None
    known = np.diff(test.train.start) > 0
    user = np.where(known[test.test.user], test.test.user, -1)
    estimate = np.clip(model.estimate(user, test.test.movie), *SCALE)
    rmse = error_metrics(estimate, test.test.rating)["rmse"]
    assert rmse is not None
    return rmse


def evaluate_cold_start(events: Interactions, seeds: int) -> Table:
    """Return the nDCG of users with few events, by their number."""
    methods = {
        "most popular, with decay": isolate(SHIPPED, "popularity"),
        "ALS by events": isolate(SHIPPED, "als"),
        "EASE": isolate(SHIPPED, "ease"),
        "blend, `cold_start: 0`": replace_params(SHIPPED, {"blend.cold_start": 0}),
        "Marquee": SHIPPED,
    }
    runs: list[dict[str, Row]] = []
    for seed in range(seeds):
        split = cold_start_split(events, seed)
        assert split is not None
        evaluator = SplitEvaluator(split, ModelCache(split.train, SCALE), max_users=None)
        runs.append({name: _by_events(evaluator, params) for name, params in methods.items()})
    return {name: _summary([run[name] for run in runs]) for name in methods}


def _by_events(evaluator: SplitEvaluator, params: Params) -> Row:
    metrics, _ = evaluator.evaluate_users(params)
    counts = evaluator.event_counts
    return {str(n): float(metrics.ndcg[counts == n].mean()) for n in COLD_START_EVENTS}


def _summary(runs: list[Row]) -> dict[str, tuple[float, float]]:
    """Return mean and standard error of each metric; the error of a single run is 0."""
    count = len(runs)
    return {
        key: (
            float(np.mean([run[key] for run in runs])),
            float(np.std([run[key] for run in runs], ddof=1) / count**0.5) if count > 1 else 0.0,
        )
        for key in runs[0]
    }


def _passed(table: Table) -> bool:
    """Return whether Marquee is above the best other, or near it with better coverage."""
    ours = table["Marquee"]
    others = [row for name, row in table.items() if name not in {"Marquee", "params.yaml"}]
    for key in ("ndcg", "recall"):
        best = max(others, key=lambda row: row[key][0])
        near = ours[key][0] >= best[key][0] - best[key][1]
        wider = ours["coverage"][0] > best["coverage"][0]
        if not (ours[key][0] > best[key][0] or (near and wider)):
            return False
    return bool(ours["rmse"][0] <= table["Surprise SVD"]["rmse"][0])


def _setting(params: Params) -> dict[str, Any]:
    sections = ("confidence", "als", "ease", "recency", "transitions", "popularity", "blend")
    return params.model_dump(mode="json", include=set(sections))


if __name__ == "__main__":
    sys.exit(main())
