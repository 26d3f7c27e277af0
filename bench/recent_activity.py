"""Measure the file of recent activity: its size, look-ups, commits, and how fast a log is read.

The file has as many users as it is made for, with as many movies each as it keeps. Look-ups are
made while nothing else runs, of users in a random order, in memory and with the model's movie
numbers. Lines are those of the real `stream.log`, repeated with other users; a commit has 500
lines, which is half a second of the real stream.

    python -m bench.recent_activity [--json] [--quick]
"""

import argparse
import json
import random
import resource
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Callable
from contextlib import closing
from pathlib import Path
from threading import Event
from typing import Any

from app.recent_activity.file_follower import follow_files
from app.recent_activity.follower_metrics import FollowerMetrics
from app.recent_activity.reader import RecentActivityReader
from app.recent_activity.table_format import TABLE_NAME, StoredEvent, StoredMovies, TableLayout
from app.recent_activity.table_updater import TableUpdater
from app.recent_activity.table_writer import TableWriter, create_table, open_table
from app.recent_events import KEPT_MOVIES, OLDER_MOVIES
from app.settings import read_settings
from bench.ingest_throughput import find_log, write_log

TARGET = {"max_lookup_us": 20.0, "min_lines_per_cpu_second": 5_000}
_MOVIES = 27_000
_NEWEST = 1_700_000_000
_LOOKUPS = 100_000
_COMMIT_LINES = 500


def make_file(directory: Path, users: int) -> dict[str, Any]:
    """Make a file with so many users; return time and size."""
    chance = random.Random(1)

    def fill(table: TableWriter) -> dict[str, Any]:
        for movie in range(_MOVIES):
            table.number_movie(f"movie+of+usual+length+{movie}+2009")
        for user_id in range(users):
            events = [_event(chance, time_ago) for time_ago in range(KEPT_MOVIES)]
            older = [chance.randrange(_MOVIES) for _ in range(OLDER_MOVIES)]
            table.put(user_id, StoredMovies(events, older))
        return {}

    started = time.process_time()
    create_table(directory, TableLayout.create(KEPT_MOVIES, OLDER_MOVIES, users), fill)
    cpu_seconds = time.process_time() - started
    started = time.process_time()
    with closing(open_table(directory)) as table:
        kept = table.users
    status = (directory / TABLE_NAME).stat()
    return {
        "users": users,
        "displaced": users - kept,
        "size_mb": round(status.st_size / 1e6, 1),
        "disk_mb": round(status.st_blocks * 512 / 1e6, 1),
        "fill_cpu_seconds": round(cpu_seconds, 1),
        "open_cpu_seconds": round(time.process_time() - started, 2),
    }


def _event(chance: random.Random, time_ago: int) -> StoredEvent:
    return StoredEvent(chance.randrange(_MOVIES), _NEWEST - 60 * time_ago, 9, 9, 9, 4.0)


def measure_lookups(directory: Path, users: int) -> dict[str, float]:
    """Measure look-ups of known and unknown users in microseconds."""
    numbers = {f"movie+of+usual+length+{movie}+2009": movie for movie in range(_MOVIES)}
    reader = RecentActivityReader(directory, numbers)
    chance = random.Random(2)
    known = [chance.randrange(users) for _ in range(_LOOKUPS)]
    return {
        **_percentiles("known", reader, known),
        **_percentiles("unknown", reader, [users + user_id for user_id in known]),
        "refresh_us": round(_seconds(reader.refresh) * 1e6, 1),
    }


def _percentiles(name: str, reader: RecentActivityReader, users: list[int]) -> dict[str, float]:
    get, clock = reader.get, time.perf_counter
    durations = []
    for user_id in users:
        started = clock()
        get(user_id)
        durations.append(clock() - started)
    durations.sort()
    return {
        f"{name}_median_us": round(durations[len(durations) // 2] * 1e6, 1),
        f"{name}_p99_us": round(durations[len(durations) * 99 // 100] * 1e6, 1),
    }


def _seconds(run: Callable[[], None]) -> float:
    started = time.perf_counter()
    run()
    return time.perf_counter() - started


def measure_lines(directory: Path, copies: int) -> dict[str, float]:
    """Read the real log several times, with other users each time."""
    log = directory / "lines.log"
    with log.open("wb") as out:
        write_log(find_log(), out, copies)
    settings = read_settings(
        recent_dir=directory / "lines", store_dir=directory / "none", log_level="error"
    )
    started = time.process_time()
    summary = follow_files([str(log)], settings, Event())
    cpu_seconds = time.process_time() - started
    return {
        "lines": summary["lines"],
        "lines_per_second": summary["lines_per_second"],
        "lines_per_cpu_second": round(summary["lines"] / cpu_seconds),
        **_measure_commits(directory, settings.recent_dir),
    }


def _measure_commits(directory: Path, recent_dir: Path) -> dict[str, float]:
    """Measure commits of half a second of the real stream, in milliseconds."""
    lines = (directory / "lines.log").read_text(errors="replace").splitlines()[: 50 * _COMMIT_LINES]
    with closing(open_table(recent_dir)) as table:
        updater = TableUpdater(
            read_settings(), recent_dir, table, FollowerMetrics(recent_dir), Counter[str]()
        )
        durations, started = [], time.process_time()
        for start in range(0, len(lines), _COMMIT_LINES):
            updater.add_lines(lines[start : start + _COMMIT_LINES])
            commit_started = time.perf_counter()
            updater.commit({"offset": start})
            durations.append(time.perf_counter() - commit_started)
        cpu_seconds = time.process_time() - started
    durations.sort()
    return {
        "commit_median_ms": round(durations[len(durations) // 2] * 1e3, 1),
        "commit_max_ms": round(durations[-1] * 1e3, 1),
        "commit_cpu_ms": round(cpu_seconds / len(durations) * 1e3, 1),
    }


def main() -> int:
    """Measure and print; return 1 when a target is missed."""
    assert __doc__ is not None
    parser = argparse.ArgumentParser(
        "python -m bench.recent_activity", description=__doc__.splitlines()[0]
    )
    parser.add_argument("--json", action="store_true", help="print JSON")
    parser.add_argument("--quick", action="store_true", help="fewer users and lines")
    arguments = parser.parse_args()
    users, copies = (50_000, 2) if arguments.quick else (1_000_000, 10)
    with tempfile.TemporaryDirectory(prefix="marquee-bench-") as name:
        directory = Path(name)
        result: dict[str, Any] = {
            **make_file(directory, users),
            **measure_lookups(directory, users),
        }
        if find_log().is_file():
            result |= measure_lines(directory, copies)
    result["peak_mb"] = round(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024, 1)
    passed = (
        result["known_median_us"] <= TARGET["max_lookup_us"]
        and result.get("lines_per_cpu_second", 1e9) >= TARGET["min_lines_per_cpu_second"]
    )
    if arguments.json:
        print(json.dumps({"target": TARGET, "passed": passed, **result}))
    else:
        for key, value in result.items():
            print(f"{key:<28} {value:>14,}")
        print(f"target {'met' if passed else 'MISSED'}: {TARGET}")
    return 0 if passed else 1


if __name__ == "__main__":
    sys.exit(main())
