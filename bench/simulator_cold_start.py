"""True utility of the recommendations for cold-start users, by the number of movies they watched.

Simulates some days without recommendations, then collects, prepares and trains on the log, and
compares the lists of users who are not in the sample with their best possible lists.

    python -m bench.simulator_cold_start [--json] [--quick]
"""

import argparse
import json
import os
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import Any

from app.simulator import paired_evaluation
from app.simulator.environment import Environment, EnvironmentSettings
from app.simulator.movies import DAY_SECONDS

MARQUEE = Path(sys.executable).with_name("marquee")
DAYS = 4.0
MAX_USERS = 20_000
#: Position in the order of sign-up from which users never appear in the simulation.
UNUSED_POSITION = 900_000


def marquee(*arguments: object) -> None:
    """Run a command."""
    subprocess.run(
        [str(MARQUEE), *map(str, arguments)],
        check=True,
        stdout=subprocess.DEVNULL,
        env=os.environ | {"MARQUEE_LOG_LEVEL": "error"},
    )


def train_on_simulated_log(directory: Path, rate: float) -> None:
    """Write the model and the prepared tables of a simulation at `rate` requests a second."""
    log, store, tables = directory / "stream.log", directory / "store", directory / "prepared"
    marquee("simulate", "--days", DAYS, "--rate", rate, "--new-users", 0.1, "--out", log)
    marquee("collect", "--file", log, "--store", store)
    log.unlink()
    marquee("prepare", "--store", store, "--out", tables)
    marquee(
        "train", "--ratings", tables / "ratings.parquet", "--watches", tables / "watches.parquet",
        "--out", directory / "model",
    )  # fmt: skip


def measure(rate: float) -> list[dict[str, Any]]:
    """Return one row for each group of users by movies watched."""
    environment = Environment(EnvironmentSettings())
    with tempfile.TemporaryDirectory(prefix="marquee-bench-") as name:
        directory = Path(name)
        train_on_simulated_log(directory, rate)
        watched = paired_evaluation.read_watched_movies(
            environment, directory / "prepared" / "watches.parquet"
        )
        new = {u: movies for u, movies in watched.items() if not environment.users.is_in_sample(u)}
        users = paired_evaluation.select_users(environment, new, len(new))[:MAX_USERS]
        users += [environment.users.id_at(UNUSED_POSITION + n) for n in range(MAX_USERS // 10)]
        return paired_evaluation.cold_start_report(
            environment, directory / "model", users, new, DAYS * DAY_SECONDS
        )


def main() -> int:
    """Measure and print."""
    assert __doc__ is not None
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--json", action="store_true", help="print JSON")
    parser.add_argument("--quick", action="store_true", help="fewer requests")
    arguments = parser.parse_args()
    rows = measure(0.05 if arguments.quick else 0.4)
    if arguments.json:
        print(json.dumps(rows))
        return 0
    for row in rows:
        print(
            ", ".join(
                f"{name} {value:,}" if name != "watched" else f"{value:>7} movies watched"
                for name, value in row.items()
            )
        )
    return 0


if __name__ == "__main__":
    sys.exit(main())
