"""How well the ranking and its parts do on MovieLens, beside simpler ones.

Usage: python bench/training_quality.py RATINGS_CSV [--seeds S] [--k K] [--json]
RATINGS_CSV is `ml-latest-small/ratings.csv`. A quarter of each user's ratings is held out at
random; what a user has rated is left out; every held-out film is relevant.
"""

import argparse
import dataclasses
import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl
from implicit.als import AlternatingLeastSquares
from numpy.typing import NDArray
from scipy import sparse
from threadpoolctl import threadpool_limits

from app.training.data import Interactions, number_events
from app.training.fitting import Fitted, fit
from app.training.lists import best_films
from app.training.metrics import error_metrics, rank_metrics
from app.training.params import BlendParams, Params, read_params
from app.training.progress import Stages
from app.training.ranking.scorer import Floats

SCALE = (0.5, 5.0)
#: Plain ALS as `implicit` has it, at several settings; the best one is reported.
PLAIN = [(reg, alpha) for reg in (5.0, 10.0, 20.0, 40.0) for alpha in (2.0, 5.0, 10.0)]
ONLY = {"als": 0.0, "ease": 0.0, "popularity": 0.0, "newcomer": 0.0, "svd": 0.0}


def main() -> None:
    """Score each peer over several splits."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("ratings", type=Path)
    parser.add_argument("--seeds", type=int, default=5)
    parser.add_argument("--k", type=int, default=10)
    parser.add_argument("--json", action="store_true")
    options = parser.parse_args()
    params = read_params(Path("params.yaml"))
    runs = [
        score(*split(read(options.ratings), s), params, options.k) for s in range(options.seeds)
    ]
    table = {name: _summary([run[name] for run in runs]) for name in runs[0]}
    best = max((n for n in table if n.startswith("plain ALS")), key=lambda n: table[n]["ndcg"][0])
    table = {n: row for n, row in table.items() if n == best or not n.startswith("plain ALS")}
    if options.json:
        print(json.dumps(table))
        return
    for name, row in table.items():
        figures = "  ".join(f"{key} {mean:.4f}±{error:.4f}" for key, (mean, error) in row.items())
        print(f"{name:32}{figures}")


def read(path: Path) -> Interactions:
    """All ratings."""
    table = pl.read_csv(path).select(
        user_id="userId",
        movie_id=pl.col("movieId").cast(pl.String),
        rating=pl.col("rating").cast(pl.Float32),
        time=pl.from_epoch("timestamp").cast(pl.Datetime("us")),
    )
    return number_events(table, None)


def split(events: Interactions, seed: int) -> tuple[Interactions, Interactions]:
    """Three quarters of each user's pairs, and the rest."""
    random = np.random.default_rng(seed)
    place = np.concatenate([random.permutation(n) / n for n in np.diff(events.start)])
    return _take(events, place >= 0.25), _take(events, place < 0.25)


def _take(events: Interactions, chosen: NDArray[np.bool_]) -> Interactions:
    counts = np.bincount(events.user[chosen], minlength=len(events.users))
    arrays = {name: getattr(events, name)[chosen] for name in ("item", "rating", "minutes", "days")}
    return dataclasses.replace(events, start=np.concatenate([[0], np.cumsum(counts)]), **arrays)


def score(
    train: Interactions, test: Interactions, params: Params, k: int
) -> dict[str, dict[str, float]]:
    """Metrics of each peer on one split."""
    params = params.model_copy(update={"blend": BlendParams(als=1, ease=1, svd=1)})
    fitted = fit(train, params, SCALE, Stages())
    rows = {}
    for name, scores in _peers(fitted, train):
        scores[train.user, train.item] = -np.inf
        shown = best_films(scores, k)
        relevant = sparse.csr_array(
            (np.ones(len(test.item), bool), test.item, test.start),
            (len(test.users), len(test.items)),
        ).toarray()
        hits = np.take_along_axis(relevant, shown, axis=1)
        metrics: dict[str, Any] = rank_metrics(hits, np.diff(test.start)).mean()
        rows[name] = {**metrics, "coverage": len(np.unique(shown)) / len(test.items)}
    assert fitted.ratings is not None
    estimate = np.clip(fitted.ratings.estimate(test.user, test.item), *SCALE)
    errors: dict[str, Any] = error_metrics(estimate, test.rating)
    rows["SVD"] |= errors
    return rows


def _peers(fitted: Fitted, train: Interactions) -> Iterator[tuple[str, Floats]]:
    users = len(train.users)
    counts = np.bincount(train.item, minlength=len(train.items)).astype(np.float32)
    yield "most popular", np.tile(counts, (users, 1))
    for name, part in (("SVD", "svd"), ("ALS by events", "als"), ("EASE", "ease")):
        yield name, fitted.scorer(BlendParams(**{**ONLY, part: 1.0})).scores(0, users)
    yield (
        "Marquee (params.yaml)",
        fitted.scorer(read_params(Path("params.yaml")).blend).scores(0, users),
    )
    liked = fitted.strengths.copy()
    liked.data[:] = 1
    for regularization, alpha in PLAIN:
        with threadpool_limits(1, "blas"):
            model = AlternatingLeastSquares(
                64, regularization, alpha, random_state=0, num_threads=1
            )
            model.fit(sparse.csr_matrix(liked), show_progress=False)
        yield (
            f"plain ALS (reg {regularization:g}, alpha {alpha:g})",
            model.user_factors @ model.item_factors.T,
        )


def _summary(runs: list[dict[str, float]]) -> dict[str, tuple[float, float]]:
    """Mean and standard error of each metric."""
    return {
        key: (
            float(np.mean([run[key] for run in runs])),
            float(np.std([run[key] for run in runs], ddof=1) / len(runs) ** 0.5),
        )
        for key in runs[0]
    }


if __name__ == "__main__":
    main()
