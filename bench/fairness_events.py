"""The fairness report on the real events at hand: a stream of 2022, and a service's ratings.

Log lines and ratings of the shared data are collected, a model is trained on the older four fifths
of the events, and the report is made of the users of the newest fifth. Genres are those of
`movies.csv`. No file has the users' attributes. In their place each user id gets the attributes
that the simulator's metadata API returns for it, which do not depend on these events: a group that
is named by gender, age or occupation is named falsely.

    python -m bench.fairness_events [--quick] [--json]
"""

import argparse
import json
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import Any

import polars as pl

from app.fairness.page import write_page
from app.ingest.metadata_files import MOVIES_FILE, USERS_FILE
from app.simulator.environment import Environment, EnvironmentSettings
from bench.training.movielens import ROOT, find_ratings


def main() -> int:
    """Make the report and print it."""
    assert __doc__ is not None
    parser = argparse.ArgumentParser("python -m bench.fairness_events", description=__doc__)
    parser.add_argument(
        "--quick", action="store_true", help="fewer factors, and EASE of few movies"
    )
    parser.add_argument("--json", action="store_true", help="print JSON")
    options = parser.parse_args()
    shared = find_ratings().parents[1]
    if not (shared / "cinematch" / "ratings.csv").is_file():
        print(f"skipped: no shared data at {shared} (set MARQUEE_SHARED_DATA)")
        return 0
    with tempfile.TemporaryDirectory(prefix="marquee-bench-") as directory:
        report = make_report(shared, Path(directory), options.quick)
    print(json.dumps(report) if options.json else write_page(report), end="")
    return 0


def make_report(shared: Path, directory: Path, quick: bool) -> dict[str, Any]:
    """Collect, train and return the report as `marquee fairness --json` prints it."""
    store, prepared = directory / "store", directory / "prepared"
    run("collect", "--file", shared / "movielog" / "stream.log", "--store", store)
    run("import-ratings", shared / "cinematch" / "ratings.csv", "--store", store)
    run("prepare", "--store", store, "--out", prepared, "--test-share", "0.2")
    write_attributes(prepared)
    write_genres(shared / "cinematch" / "movies.csv", prepared / MOVIES_FILE)
    params = ROOT / "params.yaml"
    if quick:
        content = params.read_text().replace("factors: 64", "factors: 16")
        params = directory / "params.yaml"
        params.write_text(content.replace("max_movies: 4000", "max_movies: 500"))
    tables = ("--tables", prepared / "train")
    run("train", *tables, "--out", directory / "model", "--params", params)
    return run("fairness", "--model", directory / "model", "--tables", prepared / "test",
               "--metadata", prepared, "--params", params)  # fmt: skip


def run(*arguments: object) -> dict[str, Any]:
    """Run a command of `marquee` and return what it prints as JSON."""
    done = subprocess.run(
        [sys.executable, "-m", "app", *map(str, arguments), "--json"],
        cwd=ROOT, stdout=subprocess.PIPE, text=True, check=True,
    )  # fmt: skip
    result: dict[str, Any] = json.loads(done.stdout)
    return result


def write_attributes(prepared: Path) -> None:
    """Write the attributes that the simulator's API returns for the users with events."""
    users = Environment(EnvironmentSettings(seed=1)).users
    paths = [path for path in prepared.glob("**/*.parquet") if path.stem in ("ratings", "watches")]
    ids = pl.concat([pl.read_parquet(path, columns=["user_id"]) for path in paths])
    rows = [users.profile(user)._asdict() for user in ids["user_id"].unique().sort()]
    pl.DataFrame(rows).write_parquet(prepared / USERS_FILE)


def write_genres(source: Path, target: Path) -> None:
    """Write the genres of the movies; the release year is in the movie id."""
    columns = {"column_1": "movie_id", "column_3": "genres"}
    table = pl.read_csv(source, has_header=False, encoding="latin-1", infer_schema_length=0)
    table.select(pl.col(old).alias(new) for old, new in columns.items()).select(
        "movie_id",
        pl.lit(None, pl.String).alias("release_date"),
        pl.col("genres").str.replace_all(", ", "|"),
    ).write_parquet(target)


if __name__ == "__main__":
    sys.exit(main())
