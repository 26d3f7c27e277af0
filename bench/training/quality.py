"""How good the lists are on MovieLens, beside simpler ways, and for users with few events.

    python -m bench.training.quality [RATINGS_CSV] [--quick] [--json]

Per user at random, per user in time, and at one moment for all: 25 % held out (in time: five cuts),
k = 10, seen movies left out, every held-out movie counts. Plain ALS, EASE and Marquee are each
tuned by the same search on events held out of the training data; nothing is tuned on a test.
Writes docs/benchmarks-quality.md unless --quick.
"""

import argparse
import json
import sys
from pathlib import Path
from typing import Any

import numpy as np

from app.training.interactions import Interactions
from app.training.metrics import error_metrics
from app.training.params import (
    AlsParams,
    BlendParams,
    EaseParams,
    NeighbourParams,
    Params,
    PopularityParams,
    RatingParams,
    RecencyParams,
    read_params,
)
from app.training.svd import fit_ratings
from app.training.tuning.search import Budget, Search
from app.training.tuning.splits import (
    KNOWN_EVENTS,
    Split,
    newcomer_split,
)
from app.training.tuning.tune import alone, mean_ndcg, tune
from app.training.tuning.validation import Rehearsal
from bench.training.baseline_svd import PLAIN_LADDERS, PLAIN_START, PlainRehearsal
from bench.training.methods import ROOT, SCALE, find_ratings, read, ways
from bench.training.page import machine, quality_page

TRIALS, PLAIN_TRIALS = 80, 24
#: Surprise's own defaults.
SURPRISE = RatingParams(factors=100, epochs=20, learning_rate=0.005, regularization=0.02)
#: Round values to begin each search with, as somebody would who has not seen these data.
START = Params(
    recency=RecencyParams(half_life_events=20, ease=0),
    neighbours=NeighbourParams(window=5, damping=5),
    als=AlsParams(factors=64, alpha=2, regularization=0.1),
    ease=EaseParams(regularization=200),
    popularity=PopularityParams(half_life_days=365),
    blend=BlendParams(als=1, ease=0.8, neighbours=0.3, popularity=0.05, newcomer=3, svd=0),
)
Row = dict[str, float]
Table = dict[str, dict[str, Any]]


def main() -> int:
    """Measure, print, and write the page; exit status 1 when the target is missed."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("ratings", type=Path, nargs="?", default=find_ratings())
    parser.add_argument("--quick", action="store_true", help="one seed, few trials, no page")
    parser.add_argument("--json", action="store_true", help="print JSON")
    options = parser.parse_args()
    if not options.ratings.is_file():
        print(json.dumps({"skipped": "no ratings"}) if options.json else "skipped: no ratings")
        return 0
    result = measure(read(options.ratings), options.quick)
    page = quality_page(result)
    if not options.quick:
        (ROOT / "docs" / "benchmarks-quality.md").write_text(page, encoding="utf-8")
    print(json.dumps(result) if options.json else page)
    return 0 if result["passed"] else 1


def measure(events: Interactions, quick: bool) -> dict[str, Any]:
    """All tables."""
    shipped = read_params(ROOT / "params.yaml")
    tables, settings = {}, {}
    # A short search of one split says something at random only.
    judged = ("random",) if quick else ("random", "newest", "moment")
    for name, way in ways(events, quick).items():
        runs: list[dict[str, Row]] = []
        found: dict[str, Params] = {}
        for test in way.tests:
            assert test is not None
            if way.tune_each or not found:
                inner = way.inner(test.train)
                assert inner is not None
                found = search(inner, quick)
            runs.append(score(test, found, shipped))
            print(f"{name}: {len(runs)} of {len(way.tests)}", file=sys.stderr)
        tables[name] = {row: _summary([run[row] for run in runs]) for row in runs[0]}
        settings[name] = {row: _setting(params) for row, params in found.items()}
    return {
        "passed": all(_passed(tables[name]) for name in judged),
        "data": {k: v for k, v in events.describe().items() if k != "data_hash"},
        "machine": machine(),
        "trials": {"marquee": TRIALS, "plain": PLAIN_TRIALS},
        "tables": tables,
        "settings": settings,
        "newcomers": newcomers(events, shipped, 1 if quick else 5),
    }


def search(inner: Split, quick: bool) -> dict[str, Params]:
    """The best setting of each peer on a validation split."""
    trials, plain_trials = (20, 5) if quick else (TRIALS, PLAIN_TRIALS)
    plain = PlainRehearsal(inner, SCALE)
    plain_search = Search(lambda p: mean_ndcg([plain], p), Budget(plain_trials), 0, plain.keep)
    best = plain_search.run(PLAIN_START, list(PLAIN_LADDERS), ladders=PLAIN_LADDERS)
    found = tune([Rehearsal(inner, SCALE)], START, Budget(trials), 0)
    return {
        "plain iALS (implicit)": best.params,
        "ALS by events": found.als.params,
        "EASE": found.ease.params,
        "Marquee": found.best.params,
    }


def score(test: Split, found: dict[str, Params], shipped: Params) -> dict[str, Row]:
    """Metrics of each peer on one test."""
    popular = Params(
        blend=alone(shipped, "popularity").blend,
        popularity=PopularityParams(half_life_days=1e9),
    )
    svd = alone(START.model_copy(update={"ratings": SURPRISE}), "svd")
    lists = {"most popular": popular, "Surprise SVD": svd, **found, "params.yaml": shipped}
    shown = Rehearsal(test, SCALE, sample=None)
    rows: dict[str, Row] = {}
    for name, params in lists.items():
        scorer = PlainRehearsal(test, SCALE, sample=None) if name.startswith("plain") else shown
        figures = scorer.figures(params)
        rows[name] = {key: figures[key] for key in ("ndcg", "recall", "coverage")}
        scorer.keep(params)
    for name in ("Surprise SVD", "Marquee", "params.yaml"):
        rows[name]["rmse"] = _rmse(test, lists[name].ratings)
    return rows


def _rmse(test: Split, params: RatingParams) -> float:
    model = fit_ratings(test.train, params, SCALE, 0)
    assert model is not None
    known = np.diff(test.train.start) > 0
    user = np.where(known[test.test.user], test.test.user, -1)
    estimate = np.clip(model.estimate(user, test.test.item), *SCALE)
    rmse = error_metrics(estimate, test.test.rating)["rmse"]
    assert rmse is not None
    return rmse


def newcomers(events: Interactions, shipped: Params, seeds: int) -> Table:
    """The nDCG of users left with few events, by how many."""
    marquee = shipped
    no_help = shipped.model_copy(
        update={"blend": BlendParams(**{**shipped.blend.model_dump(), "newcomer": 0.0})}
    )
    peers = {
        "most popular, in time": alone(shipped, "popularity"),
        "ALS by events": alone(shipped, "als"),
        "EASE": alone(shipped, "ease"),
        "blend, `newcomer: 0`": no_help,
        "Marquee": marquee,
    }
    runs: list[dict[str, Row]] = []
    for seed in range(seeds):
        split = newcomer_split(events, seed)
        assert split is not None
        rehearsal = Rehearsal(split, SCALE, sample=None)
        runs.append({name: _by_known(rehearsal, params) for name, params in peers.items()})
    return {name: _summary([run[name] for run in runs]) for name in peers}


def _by_known(rehearsal: Rehearsal, params: Params) -> Row:
    metrics, _ = rehearsal.per_user(params)
    return {str(n): float(metrics.ndcg[rehearsal.known == n].mean()) for n in KNOWN_EVENTS}


def _summary(runs: list[Row]) -> dict[str, tuple[float, float]]:
    """Mean and standard error of each metric; 0 where there is one run only."""
    count = len(runs)
    return {
        key: (
            float(np.mean([run[key] for run in runs])),
            float(np.std([run[key] for run in runs], ddof=1) / count**0.5) if count > 1 else 0.0,
        )
        for key in runs[0]
    }


def _passed(table: Table) -> bool:
    """Above the best other, or within a standard error of it with better coverage."""
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
    sections = ("events", "als", "ease", "recency", "neighbours", "popularity", "blend")
    return params.model_dump(mode="json", include=set(sections))


if __name__ == "__main__":
    sys.exit(main())
