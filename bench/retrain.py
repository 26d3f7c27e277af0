"""A complete retraining beside Surprise's `SVD.fit` alone, on the same ratings.

    python -m bench.retrain [--ratings 2000000] [--users 20000] [--movies 10000] [--quick] [--json]

The ratings are generated and imported into a store, and `marquee retrain` makes a version:
snapshot, data checks, validation model, gate, training with lists for every user, commit, and both
pushes to a bare repository and a directory. The users have generated attributes. The fairness
report is part of the retraining; the comparison with a model in production is not, because there is
none: both are made once more, and their processor time is printed beside that of the retraining,
which does not depend on what else runs. Surprise fits its SVD with its defaults to a training set
that is built already. Target: at most 2.5 times as long. Exit status 1 when it is missed.
"""

import argparse
import json
import resource
import sys
import tempfile
import time
from datetime import datetime
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl
import surprise

from app.ingest.metadata_files import METADATA_DIR, USERS_FILE
from app.simulator.users import OCCUPATIONS
from bench.training.page import describe_machine
from tests.support.retraining import RetrainingEnvironment, create_origin

MAX_RATIO = 2.5


def main() -> int:
    """Measure and print."""
    parser = argparse.ArgumentParser("python -m bench.retrain", description=__doc__)
    parser.add_argument("--ratings", type=int, default=2_000_000)
    parser.add_argument("--users", type=int, default=20_000)
    parser.add_argument("--movies", type=int, default=10_000)
    parser.add_argument("--quick", action="store_true", help="a twentieth of everything")
    parser.add_argument("--json", action="store_true", help="print JSON")
    options = parser.parse_args()
    divisor = 20 if options.quick else 1
    sizes = [n // divisor for n in (options.ratings, options.users, options.movies)]
    with tempfile.TemporaryDirectory(prefix="marquee-bench-") as directory:
        table = create_ratings(*sizes)
        fit_seconds = time_svd_fit(table)
        result = {"machine": describe_machine(), "ratings": len(table), "users": sizes[1],
                  "movies": sizes[2], "svd_fit_seconds": fit_seconds,
                  **time_retrain(Path(directory), table)}  # fmt: skip
    result["ratio"] = round(result["seconds"] / fit_seconds, 2)
    result["passed"] = result["ratio"] <= MAX_RATIO
    print(json.dumps(result) if options.json else format_result(result))
    return 0 if result["passed"] or options.quick else 1


def create_ratings(number: int, users: int, movies: int) -> pl.DataFrame:
    """Create ratings that a model can learn, long-tailed over users and movies."""
    rng = np.random.default_rng(1)
    activity, popularity = rng.pareto(1.5, users) + 0.2, rng.pareto(1.2, movies) + 0.05
    tastes, traits = rng.standard_normal((users, 4)), rng.standard_normal((movies, 4))
    drawn = 2 * number  # pairs that occur twice count once
    user = rng.choice(users, drawn, p=activity / activity.sum())
    movie = rng.choice(movies, drawn, p=popularity / popularity.sum())
    _, first = np.unique(user.astype(np.int64) * movies + movie, return_index=True)
    chosen = rng.permutation(first)[:number]
    user, movie = user[chosen], movie[chosen]
    score = (
        3.5 + (tastes[user] * traits[movie]).sum(axis=1) / 3 + rng.standard_normal(len(user)) / 2
    )
    return pl.DataFrame(
        {
            "userId": user,
            "movieId": pl.select(pl.format("the+movie+{}+1999", pl.Series(movie))).to_series(),
            "rating": np.clip(np.round(score), 1, 5).astype(np.int64),
            "timestamp": 1_668_000_000 + rng.integers(0, 20 * 86_400, len(user)),
        }
    )


def time_svd_fit(table: pl.DataFrame) -> float:
    """Return the seconds of Surprise's `SVD.fit`, without building its training set."""
    frame = table.select("userId", "movieId", "rating").to_pandas()
    data = surprise.Dataset.load_from_df(frame, surprise.Reader(rating_scale=(1, 5)))
    trainset = data.build_full_trainset()
    start = time.perf_counter()
    surprise.SVD(random_state=0).fit(trainset)
    return round(time.perf_counter() - start, 1)


def time_retrain(directory: Path, table: pl.DataFrame) -> dict[str, Any]:
    """Return the seconds of `marquee retrain` and of its steps, and the model's RMSE."""
    create_origin(directory)
    environment = RetrainingEnvironment(directory)
    table.write_csv(directory / "ratings.csv")
    done = environment.run_marquee("import-ratings", directory / "ratings.csv")
    assert done.returncode == 0, done.stderr
    write_attributes(directory / "store" / METADATA_DIR / USERS_FILE, table["userId"].unique())
    start, cpu_start = time.perf_counter(), get_cpu_seconds()
    run = environment.run_marquee("retrain", "--json", timeout_seconds=None)
    seconds, cpu_seconds = time.perf_counter() - start, get_cpu_seconds() - cpu_start
    assert run.returncode == 0, run.stdout + run.stderr
    lines = [json.loads(line) for line in run.stderr.splitlines() if line.startswith("{")]
    steps = [(n["step"], n["timestamp"]) for n in lines if n.get("event") == "step"]
    starts = [datetime.fromisoformat(at).timestamp() for _, at in steps]
    ends = [*starts[1:], starts[0] + seconds]
    durations = {
        name: round(end - at, 1) for (name, _), at, end in zip(steps, starts, ends, strict=True)
    }
    metrics = json.loads(run.stdout)["metrics"]
    return {
        "seconds": round(seconds, 1),
        "steps": durations,
        "cpu_seconds": round(cpu_seconds, 1),
        "report_cpu_seconds": time_report(environment),
        "rmse": metrics["rmse"],
    }


def write_attributes(path: Path, users: pl.Series) -> None:
    """Write the table of users that `marquee enrich` would have collected."""
    rng = np.random.default_rng(2)
    path.parent.mkdir(parents=True)
    pl.DataFrame(
        {
            "user_id": users.sort().cast(pl.Int64),
            "age": rng.integers(13, 80, len(users)),
            "gender": rng.choice(["F", "M"], len(users)),
            "occupation": rng.choice(OCCUPATIONS, len(users)),
        }
    ).write_parquet(path)


def get_cpu_seconds() -> float:
    """Return the processor time of all processes that this one has started and that have ended."""
    used = resource.getrusage(resource.RUSAGE_CHILDREN)
    return used.ru_utime + used.ru_stime


def time_report(environment: RetrainingEnvironment) -> dict[str, float]:
    """Return the processor seconds of the report and of the comparison with another model."""
    clone = environment.workspace / "clone"
    model = clone / "build" / "validation"
    arguments = ("--model", model, "--metadata", clone / "data" / "prepared",
                 "--tables", clone / "data" / "prepared" / "test", "--json")  # fmt: skip
    found = {}
    for name, before in (("report", ()), ("comparison", ("--before", model))):
        start = get_cpu_seconds()
        done = environment.run_marquee("fairness", *arguments, *before, timeout_seconds=None)
        assert done.returncode == 0, done.stderr
        assert '"occupation"' in done.stdout, "the attributes are in the report"
        found[name] = round(get_cpu_seconds() - start, 1)
    return found


def format_result(result: dict[str, Any]) -> str:
    """Format the result as Markdown."""
    rows = "\n".join(f"| {name} | {seconds} s |" for name, seconds in result["steps"].items())
    verdict = "met" if result["passed"] else "missed"
    report = result["report_cpu_seconds"]
    return (
        f"{result['ratings']:,} ratings of {result['users']:,} users and {result['movies']:,} "
        f"movies on {result['machine']}: `SVD.fit` alone {result['svd_fit_seconds']} s, a complete "
        f"`marquee retrain` {result['seconds']} s, {result['ratio']} times as long "
        f"(target {MAX_RATIO}: {verdict}).\n\n| step | |\n|---|---|\n{rows}\n\nProcessor time: "
        f"retraining {result['cpu_seconds']} s, of it the fairness report {report['report']} s; a "
        f"comparison of groups with a model in production adds {report['comparison']} s.\n"
    )


if __name__ == "__main__":
    sys.exit(main())
