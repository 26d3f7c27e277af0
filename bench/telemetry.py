"""Time and memory of the ten questions of docs/telemetry.md over many exported answers.

    python -m bench.telemetry [--rows N] [--directory DIR] [--page FILE] [--json] [--quick]

Answers of 100,000 users over 30 days, 20 of 20,000 movies each, in the exports' own format (63
bytes an answer); a million watches in an event store. Each question runs in a process of its own,
`marquee query` with `--memory-mb` and `--timeout`. With `--directory` the exports are kept there,
and a finished day is not made again. Exit status 1 when a question is not answered within the
limits.
"""

import argparse
import json
import os
import subprocess
import sys
import tempfile
import time
from datetime import date, timedelta
from pathlib import Path
from typing import Any

import duckdb
import numpy as np
import polars as pl
import pyarrow as pa

from app.ingest.schemas import RATING_EVENTS, WATCH_EVENTS
from app.ingest.store_writer import open_writer
from app.telemetry.exports import ROW_GROUP_ROWS, ExportDirectory, to_number
from tests.support.questions import read_questions

DAYS, USERS, MOVIES, LENGTH = 30, 100_000, 20_000, 20
FIRST_DAY = date(2026, 10, 1)
DAY_US = 86_400_000_000
WATCHES = 1_000_000
#: Memory in which the answers are generated.
GENERATOR_MEMORY = "1GB"

#: A user's list stays the same: popular movies are in many lists. Ids are as long as those of the
#: log. Numbers from 0 to 1 are hashes, so that each run makes the same files.
_LISTS = f"""
CREATE MACRO uniform(seed, x) AS hash(x, seed) / 18446744073709551616.0;
CREATE TABLE movie AS
  SELECT n, 'the+movie+of+number+' || n || '+19' || (n % 90 + 10) AS id FROM range({MOVIES}) r(n);
CREATE TABLE list AS
  SELECT user_id, list(id ORDER BY place) AS movies FROM (
    SELECT place // {LENGTH} AS user_id, place,
      floor({MOVIES} * uniform(1, place) ** 3)::BIGINT AS n
    FROM range($users * {LENGTH}) r(place)) JOIN movie USING (n)
  GROUP BY user_id;
"""
#: The columns of an export's file (`ANSWERS`), for some rows of a day.
_ANSWERS = """
COPY (
  SELECT day, make_timestamptz(time_us) AS answered_at,
    (time_us // 1000000) || '.' || lpad((time_us // 1000 % 1000)::VARCHAR, 3, '0') || '-'
      || md5(number::VARCHAR) AS request_id,
    CASE slot WHEN 0 THEN 'stable-1' WHEN 1 THEN 'stable-2' ELSE 'canary' END AS slot,
    (CASE slot WHEN 2 THEN 8 ELSE 7 END)::INTEGER AS version,
    CASE slot WHEN 2 THEN 'build-8' ELSE 'build-7' END AS build_id, user_id,
    CASE WHEN kind < 0.5 THEN 'personal' WHEN kind < 0.7 THEN 'popular' ELSE 'recent' END AS source,
    (40 - 40 * ln(1 - uniform(2, number)) - 40 * ln(1 - uniform(3, number)))::BIGINT
      AS duration_us,
    uniform(4, number) < 0.0001 AS client_gone, uniform(5, number) < 0.0001 AS is_retry, movies
  FROM (
    SELECT $day::DATE AS day, number, $start_us + (number - $first) * $step_us AS time_us,
      (CASE WHEN uniform(6, number) < 0.4 THEN 0 WHEN uniform(6, number) < 0.8 THEN 1 ELSE 2 END)
        AS slot,
      floor($users * uniform(7, number) ** 2)::BIGINT AS user_id, uniform(8, number) AS kind
    FROM range($first::BIGINT, ($first + $rows)::BIGINT) r(number))
  JOIN list USING (user_id)
) TO '{path}' (FORMAT parquet, COMPRESSION zstd, ROW_GROUP_SIZE {row_group})
"""


def write_exports(path: Path, rows: int, users: int = USERS) -> int:
    """Write the exports, without days that are there; return their bytes."""
    directory = ExportDirectory(path)
    per_day = rows // DAYS
    days = [FIRST_DAY + timedelta(days=number) for number in range(DAYS)]
    missing = [day for day in days if not directory.day_path(day).exists()]
    if missing:
        directory.day_path(days[0]).parent.mkdir(parents=True, exist_ok=True)
        with duckdb.connect() as connection:
            connection.execute(f"SET memory_limit = '{GENERATOR_MEMORY}'; SET TimeZone = 'UTC'")
            # Rows keep their order in a join where the right side is the table that is built.
            connection.execute("SET disabled_optimizers = 'join_order,build_side_probe_side'")
            connection.execute(_LISTS.replace("$users", str(users)))
            for day in missing:
                _write_day(connection, directory.day_path(day), day, per_day, users)
    return sum(file.stat().st_size for file in directory.list_days())


def _write_day(
    connection: duckdb.DuckDBPyConnection, path: Path, day: date, rows: int, users: int
) -> None:
    unfinished = path.with_name(f".{path.name}.unfinished")
    values = {
        "day": day.isoformat(),
        "first": (day - FIRST_DAY).days * rows,
        "rows": rows,
        "start_us": to_number(day) * DAY_US,
        "step_us": DAY_US // rows,
        "users": users,
    }
    connection.execute(_ANSWERS.format(path=unfinished, row_group=ROW_GROUP_ROWS), values)
    unfinished.replace(path)


def movie_ids() -> pa.Array:
    """Ids as long as those of the log."""
    return pa.array([f"the+movie+of+number+{n}+19{n % 90 + 10}" for n in range(MOVIES)])


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


def read_titles() -> list[str]:
    """The questions of docs/telemetry.md in words."""
    text = Path(__file__).parents[1].joinpath("docs/telemetry.md").read_text()
    parts = text.split("## Ten questions")[1].split("```sql")[:-1]
    return [
        " ".join(part.split("```")[-1].split()).split(". ", 1)[1].split("? ")[0].rstrip("?") + "?"
        for part in parts
    ]


def format_table(result: dict[str, Any]) -> str:
    """Number and size of the answers, and a row for each question."""
    rows, size = result["rows"], result["bytes"]
    lines = [
        f"{rows:,} answers of {USERS:,} users in {DAYS} days: {size / 1e6:,.0f} MB of Parquet, "
        f"{size / rows:.0f} bytes each.",
        "",
        "| | question | seconds | of processor | memory of the process, MB |",
        "|--:|---|--:|--:|--:|",
    ]
    for number, (title, row) in enumerate(zip(read_titles(), result["questions"], strict=True), 1):
        error = f" ({row['error']})" if row["error"] else ""
        cells = (number, title + error, row["seconds"], row["cpu_seconds"], row["memory_mb"])
        lines.append("| " + " | ".join(map(str, cells)) + " |")
    return "\n".join(lines)


def format_page(result: dict[str, Any], limits: list[str], note: str) -> str:
    """The page docs/benchmarks-telemetry.md."""
    command = f"python -m bench.telemetry --rows {result['rows']}"
    return "\n".join(
        [
            "<!-- Generated by `python -m bench.telemetry`. -->",
            "# Time and memory of questions about the telemetry",
            "",
            f"`{command}`, on {os.cpu_count()} cores{f' ({note})' if note else ''}. The questions",
            "are those of [telemetry](telemetry.md#ten-questions), each in a process of its own:",
            f"`marquee query {' '.join(limits)}`. A million watches are in the event store.",
            "",
            format_table(result),
            "",
            f"Generating the answers took {result['generated_seconds']:,.0f} s.",
            "",
        ]
    )


def main() -> int:
    """Write exports and store, ask all questions, print the table."""
    assert __doc__ is not None
    parser = argparse.ArgumentParser("python -m bench.telemetry")
    parser.add_argument("--rows", type=int, default=10_000_000)
    parser.add_argument("--memory-mb", default="512")
    parser.add_argument("--timeout", default="600", help="seconds a question may take")
    parser.add_argument("--directory", type=Path, help="where the answers are kept")
    parser.add_argument("--page", type=Path, help="write a page in Markdown to this file")
    parser.add_argument("--note", default="", help="what the page says of the machine")
    parser.add_argument("--json", action="store_true", help="print JSON")
    parser.add_argument("--quick", action="store_true", help="300,000 answers")
    arguments = parser.parse_args()
    rows = 300_000 if arguments.quick else arguments.rows // DAYS * DAYS
    limits = ["--memory-mb", arguments.memory_mb, "--timeout", arguments.timeout]
    with tempfile.TemporaryDirectory(dir=os.environ.get("TMPDIR")) as temp:
        exports, store = arguments.directory or Path(temp, "exports"), Path(temp, "store")
        started = time.monotonic()
        size = write_exports(exports, rows)
        seconds = time.monotonic() - started
        print(f"{size / 1e6:,.0f} MB in {seconds:.0f} s", file=sys.stderr, flush=True)
        write_store(store, min(WATCHES, rows))
        found = []
        for sql in read_questions():
            found.append(ask(sql, exports, store, limits))
            print(json.dumps(found[-1]), file=sys.stderr, flush=True)
    result = {"rows": rows, "bytes": size, "generated_seconds": seconds, "questions": found}
    if arguments.page:
        arguments.page.write_text(format_page(result, limits, arguments.note))
    print(json.dumps(result) if arguments.json else format_table(result))
    return 1 if any(row["error"] for row in found) else 0


if __name__ == "__main__":
    sys.exit(main())
