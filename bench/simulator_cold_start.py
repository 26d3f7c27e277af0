"""What a list is truly worth to new users, by the number of movies they watched.

The world runs by itself for some days, `marquee` collects, prepares and trains, and the lists of
people whom the sample does not know are compared with the best lists there could be.

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
from app.simulator.environment import World, WorldSettings
from app.simulator.movies import DAY

MARQUEE = Path(sys.executable).with_name("marquee")
DAYS = 4.0


def marquee(*arguments: object) -> None:
    """Run a command."""
    subprocess.run(
        [str(MARQUEE), *map(str, arguments)],
        check=True,
        stdout=subprocess.DEVNULL,
        env=os.environ | {"MARQUEE_LOG_LEVEL": "error"},
    )


def learn(place: Path, rate: float) -> None:
    """A model of what people did; and the tables it was made of."""
    log, store, tables = place / "stream.log", place / "store", place / "prepared"
    marquee("simulate", "--days", DAYS, "--rate", rate, "--newcomers", 0.1, "--out", log)
    marquee("collect", "--file", log, "--store", store)
    log.unlink()
    marquee("prepare", "--store", store, "--out", tables)
    marquee(
        "train", "--ratings", tables / "ratings.parquet", "--watches", tables / "watches.parquet",
        "--out", place / "model",
    )  # fmt: skip


def measure(rate: float, most: int) -> list[dict[str, Any]]:
    """The rows of the table."""
    world = World(WorldSettings())
    with tempfile.TemporaryDirectory(prefix="marquee-bench-") as folder:
        place = Path(folder)
        learn(place, rate)
        watched = paired_evaluation.read_watched(world, place / "prepared" / "watches.parquet")
        new = {u: movies for u, movies in watched.items() if not world.people.is_founder(u)}
        users = paired_evaluation.choose_users(world, new, len(new))[:most]
        strangers = [world.people.at(900_000 + n) for n in range(most // 10)]
        return paired_evaluation.cold_start(
            world, place / "model", users + strangers, new, DAYS * DAY
        )


def main() -> int:
    """Measure and print."""
    assert __doc__ is not None
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--json", action="store_true", help="print JSON")
    parser.add_argument("--quick", action="store_true", help="fewer visits")
    arguments = parser.parse_args()
    rows = measure(0.05 if arguments.quick else 0.4, 20_000)
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
