"""Time and peak memory of `marquee train` on generated events.

Usage: python bench/training_scale.py [--users U] [--films N] [--events E] [--ratings R] [--json]
The events have a long-tailed popularity and a long-tailed activity; R of them are ratings.
"""

import argparse
import json
import resource
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl


def main() -> None:
    """Generate, train in a process of its own, report."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=_Raw)
    for name, default in (
        ("users", 200_000),
        ("films", 20_000),
        ("events", 2_000_000),
        ("ratings", 400_000),
    ):
        parser.add_argument(f"--{name}", type=int, default=default)
    parser.add_argument("--json", action="store_true")
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as directory:
        generate(Path(directory), options.users, options.films, options.events, options.ratings)
        result = measure(Path(directory))
    if options.json:
        print(json.dumps(result))
        return
    data = result["data"]
    print(f"{data['users']:,} users, {data['films']:,} films, {data['pairs']:,} pairs")
    for stage, seconds in result["seconds"].items():
        print(f"  {stage:8}{seconds:9.1f} s")
    print(f"  lists a second: {data['users'] / result['seconds']['lists']:,.0f}")
    print(f"  peak memory: {result['peak_mb']:,.0f} MB")


class _Raw(argparse.ArgumentDefaultsHelpFormatter, argparse.RawDescriptionHelpFormatter):
    pass


def generate(directory: Path, users: int, films: int, events: int, ratings: int) -> None:
    """Write `ratings.parquet` and `watches.parquet`."""
    random = np.random.default_rng(1)
    activity = random.pareto(1.5, users) + 0.05
    user = random.choice(users, events, p=activity / activity.sum())
    place = np.minimum(random.pareto(0.6, events) * 20, films - 1).astype(np.int64)
    film = (place * (1 + user % 7)) % films  # seven groups of tastes
    time = random.integers(1_668_000_000, 1_668_400_000, events)
    table = pl.DataFrame({"user_id": user, "film": film, "second": time}).unique(
        ["user_id", "film"], keep="first", maintain_order=True
    )
    table = table.select(
        "user_id",
        movie_id=pl.format("the+film+number+{}+1999", "film"),
        time=pl.from_epoch("second").cast(pl.Datetime("us")),
    )
    rated, watched = table[:ratings], table[ratings:]
    rated.select(
        "user_id",
        "movie_id",
        rating=pl.Series(random.integers(1, 6, len(rated)), dtype=pl.Float32),
        time="time",
    ).write_parquet(directory / "ratings.parquet")
    watched.select(
        "user_id",
        "movie_id",
        minutes=pl.Series(random.integers(1, 120, len(watched)), dtype=pl.UInt16),
        first_time="time",
        last_time="time",
    ).write_parquet(directory / "watches.parquet")


def measure(directory: Path) -> dict[str, Any]:
    """Train and return the command's summary with `peak_mb` of its process."""
    command = [sys.executable, "-m", "app", "train", "--out", str(directory / "model"), "--json"]
    for name in ("ratings", "watches"):
        command += [f"--{name}", str(directory / f"{name}.parquet")]
    done = subprocess.run(command, check=True, stdout=subprocess.PIPE, text=True)
    result: dict[str, Any] = json.loads(done.stdout)
    result["peak_mb"] = resource.getrusage(resource.RUSAGE_CHILDREN).ru_maxrss / 1024
    return result


if __name__ == "__main__":
    main()
