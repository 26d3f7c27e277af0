"""Time to the first byte of every page of the console, with a month of history.

The month: answers of 30 days, with 30 versions, their builds, metrics (40 numbers each), online
quality and fairness; 30 releases of 720 evaluations each, and one in progress. Prometheus and the
scheduler answer from tables on this machine; the sources are refreshed meanwhile, as ever. 60
requests a page, one after the other; processor time is that of rendering, without the network.

    python -m bench.console [--json] [--quick]

Exit status 1 when a page's median is above 50 ms, or a page larger than 100 KB.
"""

import argparse
import http.client
import json
import logging
import random
import statistics
import sys
import tempfile
import time
from pathlib import Path
from threading import Event
from typing import Any

import sqlalchemy as sa
from flask.testing import FlaskClient
from pytest_httpserver import HTTPServer

from app import http_server
from app.console.console import Console, create_console
from app.console.pages import PAGES
from app.console.server import create_app
from app.console.sources import start_refreshing
from app.provenance.database import connect, insert_ignore
from app.provenance.tables import US_PER_DAY, build, reccom, tracking
from app.quality.results import save_quality
from tests.conftest import MOVIES, write_lists
from tests.support.console import (
    AnsweringPrometheus,
    AnsweringScheduler,
    fill_database,
    settings_of,
    write_release,
)

MAX_MEDIAN_SECONDS, MAX_BYTES = 0.05, 100_000
DAYS = RELEASES = 30
EVALUATIONS = 720
VERSIONS = range(4, 34)
REQUESTS = 60
ADDRESSES = [
    *("/" if name == "overview" else f"/{name}" for name, _ in PAGES),
    "/find?user=77",
    f"/find?movie={MOVIES[1].replace('+', '%2B')}",
    "/runbook/SlotDown",
]


def main() -> int:
    """Measure every page; print a table or JSON."""
    assert __doc__ is not None
    parser = argparse.ArgumentParser("python -m bench.console", description=__doc__.split("\n")[0])
    parser.add_argument("--json", action="store_true", help="print one JSON object")
    parser.add_argument("--quick", action="store_true", help="a tenth of the answers")
    arguments = parser.parse_args()
    logging.getLogger("werkzeug").setLevel(logging.ERROR)
    rows = measure(15_000 if arguments.quick else 150_000)
    if arguments.json:
        print(json.dumps(rows))
    else:
        print("| page | first byte, median | max | processor time | size |\n|---|---|---|---|---|")
        for row in rows:
            print(
                f"| `{row['page']}` | {row['median_ms']:.1f} ms | {row['max_ms']:.0f} ms "
                f"| {row['cpu_ms']:.1f} ms | {row['bytes'] / 1000:.0f} KB |"
            )
    missed = [
        row["page"]
        for row in rows
        if row["median_ms"] > MAX_MEDIAN_SECONDS * 1000 or row["bytes"] > MAX_BYTES
    ]
    if missed:
        print(f"missed: {', '.join(missed)}", file=sys.stderr)
    return bool(missed)


def measure(answers: int) -> list[dict[str, Any]]:
    """Return median and maximum of each page, in ms."""
    with tempfile.TemporaryDirectory() as name, HTTPServer() as server:
        directory = Path(name)
        write_database(directory, answers)
        write_releases(directory / "release")
        prometheus, scheduler = AnsweringPrometheus(server), AnsweringScheduler(server)
        scheduler.state["fairness"] = [
            {"version": version, "users": 900, "coverage": 0.2, "gini": 0.9, "similarity": 0.4,
             "most_popular": 0.3, "summary": "12 groups of users, nDCG at equal activity lower in "
             "none of them"} for version in VERSIONS
        ]  # fmt: skip
        console = create_console(settings_of(directory, prometheus.url))
        count_answers(console, answers)
        stop = Event()
        for source in console.sources:
            source.refresh()
            start_refreshing(source, stop)
        app = create_app(console, ["127.0.0.1", "localhost"])
        http = http_server.BackgroundServer("127.0.0.1:0", app)
        try:
            return [measure_page(http.port, app.test_client(), page) for page in ADDRESSES]
        finally:
            stop.set()
            http.stop()


def measure_page(port: int, client: FlaskClient, page: str) -> dict[str, Any]:
    """Request a page again and again."""
    seconds, cpu_seconds, size = [], [], 0
    for _ in range(REQUESTS):
        connection = http.client.HTTPConnection("127.0.0.1", port)
        started = time.perf_counter()
        connection.request("GET", page)
        response = connection.getresponse()
        first = response.read(1)
        seconds.append(time.perf_counter() - started)
        size = len(first + response.read())
        assert response.status == 200, page
        connection.close()
    for _ in range(REQUESTS // 3):
        started = time.thread_time()
        client.get(page)
        cpu_seconds.append(time.thread_time() - started)
    return {
        "page": page,
        "median_ms": statistics.median(seconds) * 1000,
        "max_ms": max(seconds) * 1000,
        "cpu_ms": statistics.median(cpu_seconds) * 1000,
        "bytes": size,
    }


def count_answers(console: Console, answers: int) -> None:
    """Count the answers, as the console does in the background within minutes."""
    while True:
        console.exposure.refresh()
        span = console.exposure.get().value
        if span is not None and span.responses >= answers * 0.99:
            return


def write_database(directory: Path, answers: int) -> None:
    """Write versions, builds, online quality and answers."""
    environment = fill_database(directory, write_lists(directory / "model"))
    engine = connect(environment.settings)
    randomness = random.Random(1)
    with engine.begin() as connection:
        known = {
            table: dict(connection.execute(sa.select(table).limit(1)).mappings().one())
            for table in (reccom, tracking, build)
        }
        for version in VERSIONS:
            metrics = {f"group{n // 8}.metric{n % 8}": randomness.random() for n in range(40)}
            row = {"version_number": version}
            text = json.dumps(metrics)
            insert_ignore(connection, tracking, [known[tracking] | row | {"ranking_metrics": text}])
            insert_ignore(connection, build, [known[build] | row | {"build_id": f"{version}-b"}])
        for day in range(DAYS):
            rows = [make_answer(known[reccom], day, randomness) for _ in range(answers // DAYS)]
            insert_ignore(connection, reccom, rows)
    found = {"candidate": 0.21, "production": 0.2, "difference": 0.01, "standard_error": 0.002,
             "interval": [0.006, 0.014],
             "candidate_answers": 500, "production_answers": 2000, "users": 90}  # fmt: skip
    horizons = {horizon: {"takes": found, "minutes": found} for horizon in ("1h", "24h")}
    times = {"start": "2026-11-26T00:00:00", "end": "2026-11-27T00:00:00"}
    for version in VERSIONS:
        pair = {"candidate": version, "production": version - 1}
        save_quality(engine, {**pair, **times, "horizons": horizons})


def make_answer(known: dict[str, Any], day: int, randomness: random.Random) -> dict[str, Any]:
    """An answer of some day ago, with 20 movies drawn at random."""
    at_us = int((time.time() - day * 86_400 - randomness.random() * 80_000) * 1e6)
    version = VERSIONS[-1] - day // 2
    token = f"{randomness.getrandbits(128):032x}"
    numbers = (randomness.randrange(len(MOVIES)) for _ in range(20))
    return known | {
        "day": at_us // US_PER_DAY,
        "request_id": f"{at_us // 10**6}.{at_us // 1000 % 1000:03d}-{token}",
        "answered_at_us": at_us,
        "user_id": randomness.randrange(20_000),
        "version_number": version,
        "build_id": f"{version}-b",
        "movie_numbers": b"".join(number.to_bytes(2, "little") for number in numbers),
    }


def write_releases(directory: Path) -> None:
    """Write the histories of a month, and a release in progress."""
    write_release(directory)
    now = time.time()
    for number in range(RELEASES):
        start = now - number * 86_400
        events: list[dict[str, Any]] = [
            {"time": start + 60 * minute, "event": "evaluation", "kind": "guard",
             "verdict": "CONTINUE", "evaluated_at": start + 60 * minute,
             "reason": f"minute {minute} of {EVALUATIONS}: no guard has aborted"}
            for minute in range(EVALUATIONS)
        ]  # fmt: skip
        reason = "all checks passed: " + "x" * 400
        events.append(
            {"time": start, "event": "release_completed", "outcome": "promoted",
             "version": str(number), "reason": reason}
        )  # fmt: skip
        text = "".join(json.dumps(event) + "\n" for event in events)
        path = directory / "history" / f"202611{number:02d}T000000Z-v{number}.jsonl"
        path.write_text(text)


if __name__ == "__main__":
    sys.exit(main())
