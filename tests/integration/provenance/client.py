"""Ask a service without pause and remember each answer; run a shipper that can be killed."""

import os
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import requests
import sqlalchemy as sa

from app.model.recommendation_lists import RecommendationLists
from app.provenance.lineage import Tracer
from tests.conftest import ROOT


@dataclass
class Answers:
    """What a client got: request id -> (user, text, version, source)."""

    got: dict[str, tuple[int, str, str, str]] = field(default_factory=dict)
    failed: list[str] = field(default_factory=list)
    seconds: list[float] = field(default_factory=list)


@contextmanager
def asking(url: str, pause: float = 0.003, clients: int = 2) -> Iterator[Answers]:
    """Ask from several clients until the block ends."""
    answers, stop = Answers(), threading.Event()

    def client(first: int) -> None:
        user = first
        while not stop.is_set():
            user += clients
            begun = time.monotonic()
            try:
                answer = requests.get(f"{url}/recommend/{user % 1100}", timeout=0.6)
                headers = answer.headers
                assert answer.status_code == 200
                answers.got[headers["X-Request-Id"]] = (
                    user % 1100, answer.text, headers["X-Model-Version"],
                    headers["X-Recommendation-Source"],
                )  # fmt: skip
            except (requests.RequestException, AssertionError) as error:
                answers.failed.append(repr(error))
            answers.seconds.append(time.monotonic() - begun)
            time.sleep(pause)

    threads = [threading.Thread(target=client, args=(number,)) for number in range(clients)]
    for thread in threads:
        thread.start()
    try:
        yield answers
    finally:
        stop.set()
        for thread in threads:
            thread.join()


@contextmanager
def shipping(log: Path, **settings: str) -> Iterator[subprocess.Popen[bytes]]:
    """Run `marquee ship` until the block ends."""
    with log.open("ab") as output:
        process = subprocess.Popen(
            [sys.executable, "-m", "app", "ship"],
            cwd=ROOT, env={**os.environ, **settings}, stdout=output, stderr=output,
        )  # fmt: skip
    try:
        yield process
    finally:
        process.terminate()
        process.wait(60)


def waiting(queue: Path) -> int:
    """How many segments and announcements are in the queue."""
    return len(list(queue.glob("[!.]*.segment"))) + len(list(queue.glob("[!.]*.about")))


def wait_for_rows(engine: sa.Engine, ids: set[str], seconds: float = 30) -> dict[str, Any]:
    """The rows of reccom by request id, once all these ids are there."""
    deadline = time.monotonic() + seconds
    while True:
        with engine.connect() as connection:
            there = sa.inspect(connection).has_table("reccom")  # SQLite: the shipper makes it
            query = sa.text("select * from reccom")
            rows = list(connection.execute(query).mappings()) if there else []
        found = {row["request_id"]: row for row in rows}
        if ids <= found.keys():
            assert len(found) == len(rows), "a request id stands twice"
            return found
        assert time.monotonic() < deadline, f"{len(ids - found.keys())} records are missing"
        time.sleep(0.3)


def check_each(engine: sa.Engine, model: Path, answers: Answers) -> None:
    """Every delivered answer stands in the database as it was given."""
    rows = wait_for_rows(engine, set(answers.got))
    names = RecommendationLists.open(model).movie_ids
    for request_id, (user, text, version, source) in answers.got.items():
        row = rows[request_id]
        assert (row["user_id"], str(row["version_number"]), row["source"]) == (
            user, version, source
        )  # fmt: skip
        movies = memoryview(row["movies"]).cast("H").tolist()
        assert ",".join(names[number] for number in movies) == text
    traced = Tracer(engine).request(next(iter(answers.got)))
    assert traced[0]["movie_ids"] == next(iter(answers.got.values()))[1].split(",")
