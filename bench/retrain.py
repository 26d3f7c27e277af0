"""A whole retraining beside Surprise's `SVD.fit` alone, on the same ratings.

    python -m bench.retrain [--ratings 2000000] [--users 20000] [--movies 10000] [--quick] [--json]

The ratings are generated, imported into a store, and `marquee retrain` makes a version: data
under DVC, checks, rehearsal, gate, training, lists for every user, commit, both pushes to a bare
repository and a directory. Surprise fits its SVD with its defaults to a training set that is built
already. Target: at most 2.5 times as long. Exit status 1 when it is missed.
"""

import argparse
import json
import subprocess
import sys
import tempfile
import time
from datetime import datetime
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl
import surprise

from bench.training.page import machine
from tests.conftest import ROOT
from tests.support.retraining import World, make_origin

TARGET = 2.5


def main() -> int:
    """Measure and print."""
    parser = argparse.ArgumentParser("python -m bench.retrain", description=__doc__)
    parser.add_argument("--ratings", type=int, default=2_000_000)
    parser.add_argument("--users", type=int, default=20_000)
    parser.add_argument("--movies", type=int, default=10_000)
    parser.add_argument("--quick", action="store_true", help="a twentieth of everything")
    parser.add_argument("--json", action="store_true", help="print JSON")
    options = parser.parse_args()
    share = 20 if options.quick else 1
    sizes = [n // share for n in (options.ratings, options.users, options.movies)]
    with tempfile.TemporaryDirectory(prefix="marquee-bench-") as folder:
        place = Path(folder)
        table = ratings(*sizes)
        fit = fit_alone(table)
        result = {"machine": machine(), "ratings": len(table), "users": sizes[1],
                  "movies": sizes[2], "svd_fit_seconds": fit, **retrain(place, table)}  # fmt: skip
    result["times"] = round(result["seconds"] / fit, 2)
    result["passed"] = result["times"] <= TARGET
    print(json.dumps(result) if options.json else page(result))
    return 0 if result["passed"] or options.quick else 1


def ratings(number: int, users: int, movies: int) -> pl.DataFrame:
    """Ratings that can be learned, by long-tailed users of long-tailed movies."""
    random = np.random.default_rng(1)
    activity, popular = random.pareto(1.5, users) + 0.2, random.pareto(1.2, movies) + 0.05
    taste, kind = random.standard_normal((users, 4)), random.standard_normal((movies, 4))
    drawn = 2 * number  # some pairs come twice and count once
    user = random.choice(users, drawn, p=activity / activity.sum())
    movie = random.choice(movies, drawn, p=popular / popular.sum())
    _, first = np.unique(user.astype(np.int64) * movies + movie, return_index=True)
    chosen = random.permutation(first)[:number]
    user, movie = user[chosen], movie[chosen]
    liking = (
        3.5 + (taste[user] * kind[movie]).sum(axis=1) / 3 + random.standard_normal(len(user)) / 2
    )
    return pl.DataFrame(
        {
            "userId": user,
            "movieId": pl.select(pl.format("the+movie+{}+1999", pl.Series(movie))).to_series(),
            "rating": np.clip(np.round(liking), 1, 5).astype(np.int64),
            "timestamp": 1_668_000_000 + random.integers(0, 20 * 86_400, len(user)),
        }
    )


def fit_alone(table: pl.DataFrame) -> float:
    """Seconds that Surprise's SVD needs to fit, without making its training set."""
    frame = table.select("userId", "movieId", "rating").to_pandas()
    data = surprise.Dataset.load_from_df(frame, surprise.Reader(rating_scale=(1, 5)))
    trainset = data.build_full_trainset()
    begun = time.perf_counter()
    surprise.SVD(random_state=0).fit(trainset)
    return round(time.perf_counter() - begun, 1)


def retrain(place: Path, table: pl.DataFrame) -> dict[str, Any]:
    """Seconds of a whole `marquee retrain`, and of each of its steps."""
    make_origin(place)
    world = World(place)
    table.write_csv(place / "ratings.csv")
    done = world.marquee("import-ratings", place / "ratings.csv")
    assert done.returncode == 0, done.stderr
    begun = time.perf_counter()
    run = subprocess.run(
        [sys.executable, "-m", "app", "retrain", "--json"], cwd=ROOT,
        env={**world.environment, "PYTHONPATH": str(ROOT)}, capture_output=True, text=True,
        check=False,
    )  # fmt: skip
    seconds = time.perf_counter() - begun
    assert run.returncode == 0, run.stdout + run.stderr
    lines = [json.loads(line) for line in run.stderr.splitlines() if line.startswith("{")]
    told = [(n["step"], n["timestamp"]) for n in lines if n.get("event") == "step"]
    moments = [datetime.fromisoformat(at).timestamp() for _, at in told]
    ends = [*moments[1:], moments[0] + seconds]
    steps = {
        name: round(end - at, 1) for (name, _), at, end in zip(told, moments, ends, strict=True)
    }
    figures = json.loads(run.stdout)["figures"]
    return {"seconds": round(seconds, 1), "steps": steps, "rmse": figures["rmse"]}


def page(result: dict[str, Any]) -> str:
    """The result as a table."""
    rows = "\n".join(f"| {name} | {seconds} s |" for name, seconds in result["steps"].items())
    verdict = "met" if result["passed"] else "missed"
    return (
        f"{result['ratings']:,} ratings of {result['users']:,} users and {result['movies']:,} movies "
        f"on {result['machine']}: `SVD.fit` alone {result['svd_fit_seconds']} s, a whole "
        f"`marquee retrain` {result['seconds']} s, {result['times']} times as long "
        f"(target {TARGET}: {verdict}).\n\n| step | |\n|---|---|\n{rows}\n"
    )


if __name__ == "__main__":
    sys.exit(main())
