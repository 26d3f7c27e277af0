"""Time and memory of the ten questions of docs/telemetry.md over many exported answers.

    python -m bench.telemetry [--rows N] [--json] [--quick]

Answers of 100,000 users over 30 days, 20 of 20,000 movies each, in the exports' own format; a
million watches in an event store. Each question runs in a process of its own, `marquee query` with
`--memory-mb` and `--timeout`. Exit status 1 when a question is not answered within them.
"""

import argparse
import json
import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from datetime import date, timedelta
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl
import pyarrow as pa

from app.ingest.schemas import RATING_EVENTS, WATCH_EVENTS
from app.ingest.store_writer import open_writer
from app.telemetry.exports import ANSWERS, ROW_GROUP_ROWS, ExportDirectory, to_number
from tests.support.questions import read_questions

DAYS, USERS, MOVIES, LENGTH = 30, 100_000, 20_000, 20
FIRST_DAY = date(2026, 10, 1)
DAY_US = 86_400_000_000
WATCHES = 1_000_000
TimesUs = np.ndarray[Any, np.dtype[np.int64]]


def movie_ids() -> pa.Array:
    """Ids as long as those of the log."""
    return pa.array([f"the+movie+of+number+{n}+19{n % 90 + 10}" for n in range(MOVIES)])


def make_batch(
    rng: np.random.Generator, lists: np.ndarray[Any, Any], ids: pa.Array, time_us: TimesUs
) -> pa.RecordBatch:
    """Answers at these times, ascending, in microseconds since 1970."""
    count = len(time_us)
    user = (USERS * rng.random(count) ** 2).astype(np.int64)
    slot = rng.choice(3, count, p=[0.4, 0.4, 0.2])
    tokens = rng.bytes(16 * count).hex()
    request = [
        f"{t // 1_000_000}.{t // 1000 % 1000:03d}-{tokens[32 * n : 32 * n + 32]}"
        for n, t in enumerate(time_us.tolist())
    ]
    movies = pa.ListArray.from_arrays(
        pa.array(np.arange(0, LENGTH * count + 1, LENGTH, dtype=np.int32)),
        ids.take(pa.array(lists[user].ravel())),
    )
    words = {
        "slot": pa.array(["stable-1", "stable-2", "canary"]).take(pa.array(slot)),
        "build_id": pa.array(["build-7", "build-8"]).take(pa.array((slot == 2).astype(np.int8))),
        "source": pa.array(["personal", "popular", "recent"]).take(
            pa.array(rng.choice(3, count, p=[0.5, 0.2, 0.3]))
        ),
    }
    values = {
        "day": pa.array((time_us // DAY_US).astype(np.int32)).cast(pa.date32()),
        "answered_at": pa.array(time_us).cast(pa.timestamp("us", tz="UTC")),
        "request_id": pa.array(request),
        "version": pa.array(np.where(slot == 2, 8, 7).astype(np.int32)),
        "user_id": pa.array(user),
        "duration_us": pa.array(rng.gamma(4, 30, count).astype(np.int64)),
        "client_gone": pa.array(rng.random(count) < 0.0001),
        "is_retry": pa.array(rng.random(count) < 0.0001),
        "movies": movies,
        **{name: array.dictionary_encode() for name, array in words.items()},
    }
    return pa.RecordBatch.from_arrays([values[f.name] for f in ANSWERS], schema=ANSWERS)


def write_exports(path: Path, rows: int) -> int:
    """Write the exports; return their bytes."""
    rng, ids, directory = np.random.default_rng(1), movie_ids(), ExportDirectory(path)
    # A user's list stays the same: popular movies are in many lists.
    lists = (MOVIES * rng.random((USERS, LENGTH)) ** 3).astype(np.int32)
    per_day = rows // DAYS

    def batches(day: date) -> Iterator[pa.RecordBatch]:
        times = to_number(day) * DAY_US + np.arange(per_day) * (DAY_US // per_day)
        for start in range(0, per_day, ROW_GROUP_ROWS):
            yield make_batch(rng, lists, ids, times[start : start + ROW_GROUP_ROWS])

    for number in range(DAYS):
        day = FIRST_DAY + timedelta(days=number)
        directory.write_day(day, batches(day))
    return sum(file.stat().st_size for file in directory.list_days())


def write_store(path: Path, pairs: int) -> None:
    """Write watches of random users and movies, of one minute each."""
    rng, ids = np.random.default_rng(2), movie_ids()
    movie = (MOVIES * rng.random(pairs) ** 3).astype(np.int64)
    time_us = (DAYS * DAY_US * rng.random(pairs)).astype(np.int64)
    watches = pl.DataFrame(
        {
            "user_id": (USERS * rng.random(pairs) ** 2).astype(np.int64),
            "movie_id": pl.Series(ids.take(pa.array(movie)).to_pylist()),
            "minute": np.zeros(pairs, np.uint16),
            "time": to_number(FIRST_DAY) * DAY_US + time_us,
        }
    ).cast(pl.Schema(WATCH_EVENTS))
    with open_writer(path) as writer:
        writer.commit(watches, pl.DataFrame(schema=RATING_EVENTS))


#: Runs `marquee`, and ends with the peak of its own memory on standard error: `wait4` would count
#: that of the process which started it, too.
_MEASURED = """
import atexit, sys
from app.cli import main
read = lambda: [line for line in open("/proc/self/status") if line.startswith("VmHWM")][0]
atexit.register(lambda: print(read().split()[1], file=sys.stderr))
main(sys.argv[1:])
"""


def ask(sql: str, exports: Path, store: Path, limits: list[str]) -> dict[str, Any]:
    """Run `marquee query` in a process of its own; return its time and memory."""
    command = [sys.executable, "-c", _MEASURED, "query", sql, "--json", *limits]
    command += ["--exports", str(exports), "--store", str(store)]
    started = time.monotonic()
    before = os.times()
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    used = os.times()
    seconds = time.monotonic() - started
    cpu = used.children_user + used.children_system - before.children_user - before.children_system
    *error, peak = done.stderr.strip().splitlines()
    return {
        "seconds": round(seconds, 2),
        "cpu_seconds": round(cpu, 2),
        "memory_mb": round(int(peak) / 1024),
        "error": " ".join(error)[-300:] if done.returncode else "",
    }


def main() -> int:
    """Write exports and store, ask all questions, print the table."""
    assert __doc__ is not None
    parser = argparse.ArgumentParser("python -m bench.telemetry")
    parser.add_argument("--rows", type=int, default=10_000_000)
    parser.add_argument("--memory-mb", default="512")
    parser.add_argument("--timeout", default="600", help="seconds a question may take")
    parser.add_argument("--json", action="store_true", help="print JSON")
    parser.add_argument("--quick", action="store_true", help="300,000 answers")
    arguments = parser.parse_args()
    rows = 300_000 if arguments.quick else arguments.rows
    with tempfile.TemporaryDirectory(dir=os.environ.get("TMPDIR")) as temp:
        exports, store = Path(temp, "exports"), Path(temp, "store")
        size = write_exports(exports, rows)
        write_store(store, min(WATCHES, rows))
        limits = ["--memory-mb", arguments.memory_mb, "--timeout", arguments.timeout]
        found = [ask(sql, exports, store, limits) for sql in read_questions()]
    if arguments.json:
        print(json.dumps({"rows": rows, "bytes": size, "questions": found}))
    else:
        print(f"{rows:,} answers, {size / 1e6:,.0f} MB of Parquet, {size / rows:.0f} bytes each\n")
        print("| question | seconds | of processor | MB |\n|--:|--:|--:|--:|")
        for number, row in enumerate(found, 1):
            print(
                f"| {number} | {row['seconds']} | {row['cpu_seconds']} | {row['memory_mb']} |"
                f"{' ' + row['error'] if row['error'] else ''}"
            )
    return 1 if any(row["error"] for row in found) else 0


if __name__ == "__main__":
    sys.exit(main())
