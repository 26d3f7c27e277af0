"""Cost of preparing and training on Spark beside one machine, and quality on MovieLens.

    python -m bench.training.spark DIRECTORY [--events N ...] [--prepare] [--splits N] [--cores N]

For each number of events, tables (with --prepare: a store of as many pairs) are generated in
DIRECTORY where they are not there yet, and both engines make a model (tables) of them. Processor
time of a stage is that of this process and all of its descendants, with Spark's Java process and
the Python processes of its tasks: the cluster is `local[cores]`. With --splits, both engines are
trained on the first splits of each method of the quality bench. All is done in one Spark session;
JSON is printed. It needs pyspark (`make spark`).
"""

import argparse
import json
import os
import sys
import tempfile
import time
from datetime import timedelta
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl
import psutil

from app.ingest.prepare import PrepareEngine, prepare_tables
from app.ingest.prepare_spark import SparkEngine
from app.ingest.schemas import RATING_EVENTS, WATCH_EVENTS, conform
from app.ingest.store_writer import open_writer
from app.model.verify import verify_model
from app.spark.cluster import Cluster, connect
from app.spark.files import scratch_directory
from app.training import stages
from app.training.evaluate import measure_users
from app.training.params import Params, read_params
from app.training.pipeline import TrainingJob, run_training
from app.training.spark.fit import SparkFit
from app.training.tuning.splits import Split
from bench.training import events
from bench.training.movielens import ROOT, SCALE, find_ratings, make_methods, read_ratings

#: Users and movies by number of events, as in `bench.training.scale`; others have the last ones.
_SIZES = {100_000: (10_000, 5_000), 1_000_000: (100_000, 15_000)}
_LARGEST = (1_000_000, 27_000)
_PARAMS = read_params(ROOT / "params.yaml")
_K = 10


def main() -> int:
    """Measure and print JSON."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("directory", type=Path)
    parser.add_argument("--events", type=int, nargs="*", default=[])
    parser.add_argument(
        "--prepare", action="store_true", help="prepare a store instead of training"
    )
    parser.add_argument("--splits", type=int, default=0, help="splits of each method")
    parser.add_argument("--cores", type=int, default=2)
    parser.add_argument("--memory", default="5g", help="of Spark's Java process")
    options = parser.parse_args()
    os.environ["PYSPARK_SUBMIT_ARGS"] = f"--driver-memory {options.memory} pyspark-shell"
    options.directory.mkdir(parents=True, exist_ok=True)
    result: dict[str, Any] = {"cores": options.cores}
    with connect(f"local[{options.cores}]", "bench") as cluster:
        stages._read_cpu_seconds = _read_cpu_seconds
        measure = measure_preparing if options.prepare else measure_training
        for size in options.events:
            for engine in (None, cluster):
                name = "one machine" if engine is None else "spark"
                found = measure(options.directory, size, engine)
                result[f"{size} {name}"] = found
                print(size, name, json.dumps(found), file=sys.stderr, flush=True)
        if options.splits:
            result["quality"] = compare_quality(options.directory, cluster, options.splits)
    print(json.dumps(result, indent=1))
    return 0


def measure_training(directory: Path, size: int, cluster: Cluster | None) -> dict[str, Any]:
    """Train on generated tables; return seconds and processor seconds of each stage."""
    tables = directory / f"tables-{size}"
    if not tables.exists():
        tables.mkdir()
        events.write(tables, size, *_SIZES.get(size, _LARGEST))
    with tempfile.TemporaryDirectory(dir=directory) as out:
        job = TrainingJob(
            tables / "ratings.parquet", tables / "watches.parquet", None,
            tables / "movies.parquet", Path(out) / "model", 0, (1, 5),
        )  # fmt: skip
        summary = _train(job, cluster, _PARAMS)
        verify_model(job.out)
    return {key: summary[key] for key in ("seconds", "cpu_seconds")}


def measure_preparing(directory: Path, size: int, cluster: Cluster | None) -> dict[str, Any]:
    """Prepare the tables of a generated store; return the summary and seconds."""
    store = directory / f"store-{size}"
    if not store.exists():
        _write_store(store, size)
    engine: PrepareEngine | None = None if cluster is None else SparkEngine(cluster, store)
    with tempfile.TemporaryDirectory(dir=directory) as out:
        start, cpu_start = time.monotonic(), _read_cpu_seconds()
        summary = prepare_tables(store, Path(out) / "tables", 0.2, engine=engine)
        seconds, cpu_seconds = time.monotonic() - start, _read_cpu_seconds() - cpu_start
    return {"summary": summary, "seconds": round(seconds, 1), "cpu_seconds": round(cpu_seconds, 1)}


def compare_quality(directory: Path, cluster: Cluster, splits: int) -> dict[str, Any]:
    """Train both engines on the training side of splits; return metrics on the other side."""
    found: dict[str, Any] = {}
    for name, method in make_methods(read_ratings(find_ratings()), splits == 1).items():
        for number, test in enumerate(method.tests[:splits]):
            assert test is not None
            with tempfile.TemporaryDirectory(dir=directory) as work:
                found[f"{name} {number}"] = _compare(Path(work), test, cluster)
            print(name, number, json.dumps(found[f"{name} {number}"]), file=sys.stderr, flush=True)
    return found


def _compare(directory: Path, test: Split, cluster: Cluster) -> dict[str, Any]:
    """Return recall and nDCG of both engines, their differences, and standard errors.

    `other seed` is one machine with another seed of ALS: what chance changes.
    """
    train = test.train
    times = pl.Series([train.newest] * len(train.movie), dtype=pl.Datetime("us"))
    ages = pl.Series(np.round(train.age_days * 86_400_000_000).astype(np.int64))
    table = pl.DataFrame(
        {
            "user_id": train.users[train.user],
            "movie_id": np.array(train.movies)[train.movie],
            "rating": train.rating,
            "time": times - ages.cast(pl.Duration("us")),
        }
    )
    ratings = directory / "ratings.parquet"
    table.sort("user_id", "movie_id").write_parquet(ratings)
    values: dict[str, dict[str, Any]] = {}
    for name, engine, seed in (("one", None, 0), ("spark", cluster, 0), ("other seed", None, 1)):
        job = TrainingJob(ratings, None, None, None, directory / name, 0, SCALE)
        _train(job, engine, _PARAMS.model_copy(update={"seed": seed}))
        metrics = measure_users(job.out, test.test, _K).metrics
        values[name] = {"ndcg": metrics.ndcg, "recall": metrics.recall}
    result: dict[str, Any] = {"users": len(values["one"]["ndcg"])}
    for metric in ("ndcg", "recall"):
        one = values["one"][metric]
        row = {"one machine": float(one.mean()), "standard error": _standard_error(one)}
        for name in ("spark", "other seed"):
            difference = values[name][metric] - one
            row[f"{name} minus one"] = float(difference.mean())
            row[f"{name}: standard error of the difference"] = _standard_error(difference)
        result[metric] = row
    return result


def _standard_error(values: Any) -> float:
    return float(values.std(ddof=1) / np.sqrt(len(values)))


def _train(job: TrainingJob, cluster: Cluster | None, params: Params) -> dict[str, Any]:
    if cluster is None:
        return run_training(job, params)
    with scratch_directory(job.out) as scratch:
        return run_training(job, params, SparkFit(cluster, scratch))


def _write_store(store: Path, size: int) -> None:
    """Write a store with ten segments of each table, and two minutes of each watch."""
    with tempfile.TemporaryDirectory() as directory, open_writer(store) as writer:
        events.write(Path(directory), size, *_SIZES.get(size, _LARGEST))
        ratings = pl.read_parquet(Path(directory) / "ratings.parquet")
        watches = pl.read_parquet(Path(directory) / "watches.parquet")
        for part in range(10):
            watched = watches.gather_every(10, part)
            minute = pl.Series("minute", np.arange(len(watched)) % 90, dtype=pl.UInt16)
            first = watched.select("user_id", "movie_id", minute, time="last_time")
            second = first.with_columns(
                minute=pl.col("minute") + 1, time=pl.col("time") + timedelta(minutes=1)
            )
            writer.commit(
                conform(pl.concat([first, second]), WATCH_EVENTS),
                conform(ratings.gather_every(10, part), RATING_EVENTS),
            )


def _read_cpu_seconds() -> float:
    """Return the processor time of this process and its descendants, those that ended included."""
    root, total = psutil.Process(), 0.0
    for process in (root, *root.children(recursive=True)):
        try:
            total += sum(process.cpu_times()[:4])
        except psutil.NoSuchProcess:
            continue
    return total


if __name__ == "__main__":
    sys.exit(main())
