"""The fairness report on the real events at hand: a stream of 2022, and a service's ratings.

Log lines and ratings of the shared data are collected, a model is trained on the older four fifths
of the events, and the report is made of the users of the newest fifth. Genres are those of
`movies.csv`. No file has the users' attributes. In their place each user id gets the attributes
that the simulator's metadata API returns for it, which do not depend on these events: a group that
is named by gender, age or occupation is named falsely. How often that happens is counted in 100
rounds, in each of which the attributes change places among the users.

    python -m bench.fairness_events [--rounds 100] [--quick] [--json]
"""

import argparse
import json
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import Any

import polars as pl

from app.fairness.page import find_differences, write_page
from app.fairness.params import read_fairness_params
from app.fairness.user_groups import group_users, read_attributes
from app.fairness.users_side import UserMetrics, describe_groups
from app.ingest.metadata_files import MOVIES_FILE, USERS_FILE
from app.ingest.time_limits import TimeLimits
from app.settings import Settings
from app.simulator.environment import Environment, EnvironmentSettings
from app.training.commands import find_tables
from app.training.evaluate import measure_users
from app.training.load import load_interactions
from bench.training.movielens import ROOT, find_ratings

#: Rounds with attributes in other places, and permutations of the correction in each.
_ROUNDS, _RESAMPLES = 100, 200
_K, SCALE = 10, (1, 5)


def main() -> int:
    """Make the report and print it."""
    assert __doc__ is not None
    parser = argparse.ArgumentParser("python -m bench.fairness_events", description=__doc__)
    parser.add_argument("--rounds", type=int, default=_ROUNDS)
    parser.add_argument(
        "--quick", action="store_true", help="fewer factors, and EASE of few movies"
    )
    parser.add_argument("--json", action="store_true", help="print JSON")
    options = parser.parse_args()
    shared = find_ratings().parents[1]
    if not (shared / "cinematch" / "ratings.csv").is_file():
        print(f"skipped: no shared data at {shared} (set MARQUEE_SHARED_DATA)")
        return 0
    with tempfile.TemporaryDirectory(prefix="marquee-bench-") as name:
        directory = Path(name)
        params = write_params(directory / "params.yaml", options.quick)
        report = make_report(shared, directory, params)
        rates = count_false(directory, params, 3 if options.quick else options.rounds)
    print(json.dumps({"rates": rates, "report": report}) if options.json
          else f"{format_rates(rates)}\n\n{write_page(report)}")  # fmt: skip
    return 0


def write_params(path: Path, quick: bool) -> Path:
    """Write the parameters of the product, or smaller ones."""
    content = (ROOT / "params.yaml").read_text()
    if quick:
        content = content.replace("factors: 64", "factors: 16")
        content = content.replace("max_movies: 4000", "max_movies: 500")
    path.write_text(content)
    return path


def make_report(shared: Path, directory: Path, params: Path) -> dict[str, Any]:
    """Collect, train and return the report as `marquee fairness --json` prints it."""
    store, prepared = directory / "store", directory / "prepared"
    run("collect", "--file", shared / "movielog" / "stream.log", "--store", store)
    run("import-ratings", shared / "cinematch" / "ratings.csv", "--store", store)
    run("prepare", "--store", store, "--out", prepared, "--test-share", "0.2")
    write_attributes(prepared)
    write_genres(shared / "cinematch" / "movies.csv", prepared / MOVIES_FILE)
    tables = ("--tables", prepared / "train")
    run("train", *tables, "--out", directory / "model", "--params", params)
    return run("fairness", "--model", directory / "model", "--tables", prepared / "test",
               "--metadata", prepared, "--params", params)  # fmt: skip


def count_false(directory: Path, params: Path, rounds: int) -> dict[str, int]:
    """Return in how many rounds a group by attributes drawn at random is named, by kind."""
    section, age_bands, _ = read_fairness_params(params)
    section = section.model_copy(update={"resamples": _RESAMPLES})
    prepared = directory / "prepared"
    ratings, watches, *_ = find_tables(prepared / "test", None, None)
    times = TimeLimits.from_settings(Settings())
    held_out = load_interactions(ratings, watches, SCALE, times=times)
    measured = measure_users(directory / "model", held_out, _K)
    attributes = read_attributes(prepared / USERS_FILE)
    assert attributes is not None
    false = {"rounds": rounds, "difference": 0, "adjusted": 0}
    for seed in range(rounds):
        drawn = attributes.sample(fraction=1, shuffle=True, seed=seed)
        drawn = drawn.with_columns(user_id=attributes["user_id"])
        groups = group_users(
            held_out.users, measured.user >= 0, measured.activity, drawn, age_bands
        )
        described = describe_groups(UserMetrics.of(measured), groups, section, seed)
        side = {"users_side": [row for row in described if row["attribute"] in drawn.columns]}
        for kind in ("difference", "adjusted"):
            false[kind] += bool(find_differences(side, kind))
    return false


def format_rates(rates: dict[str, int]) -> str:
    """Format the rates as a sentence."""
    return (
        f"Of {rates['rounds']} rounds with attributes that change places among the users, a group "
        f"is named in {rates['difference']}, at equal activity in {rates['adjusted']}."
    )


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
    table = pl.read_csv(source, has_header=False, encoding="latin-1", infer_schema_length=0)
    movie_id, _, genres, *_ = table.columns
    table.select(
        pl.col(movie_id).alias("movie_id"),
        pl.lit(None, pl.String).alias("release_date"),
        pl.col(genres).str.replace_all(", ", "|").alias("genres"),
    ).write_parquet(target)


if __name__ == "__main__":
    sys.exit(main())
