"""Send requests to a service and remember the responses; run a shipper that can be killed."""

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
from app.provenance.lineage import Lineage
from tests.conftest import ROOT
from tests.support.waiting import eventually


@dataclass
class Responses:
    """What the clients received."""

    #: request id -> (user id, text, version, source)
    received: dict[str, tuple[int, str, str, str]] = field(default_factory=dict)
    failed: list[str] = field(default_factory=list)

    def wait_for(self, count: int) -> None:
        """Wait until `count` more responses are received."""
        goal = len(self.received) + count
        eventually(lambda: len(self.received) >= goal, 60, f"{count} more responses")


@contextmanager
def sending_requests(
    url: str, pause_seconds: float = 0.003, clients: int = 2
) -> Iterator[Responses]:
    """Send requests from several threads until the block ends."""
    responses, stop = Responses(), threading.Event()

    def client(first: int) -> None:
        user = first
        while not stop.is_set():
            user += clients
            try:
                response = requests.get(f"{url}/recommend/{user % 1100}", timeout=0.6)
                headers = response.headers
                assert response.status_code == 200
                responses.received[headers["X-Request-Id"]] = (
                    user % 1100, response.text, headers["X-Model-Version"],
                    headers["X-Recommendation-Source"],
                )  # fmt: skip
            except (requests.RequestException, AssertionError) as error:
                responses.failed.append(repr(error))
            time.sleep(pause_seconds)

    threads = [threading.Thread(target=client, args=(number,)) for number in range(clients)]
    for thread in threads:
        thread.start()
    try:
        yield responses
    finally:
        stop.set()
        for thread in threads:
            thread.join()


@contextmanager
def running_shipper(log: Path, **settings: str) -> Iterator[subprocess.Popen[bytes]]:
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


def wait_for_rows(engine: sa.Engine, request_ids: set[str]) -> dict[str, Any]:
    """The rows of reccom by request id, once all of these are in it."""
    found: dict[str, Any] = {}

    def missing() -> int:
        return len(request_ids - found.keys())

    def all_found() -> bool:
        with engine.connect() as connection:
            exists = sa.inspect(connection).has_table("reccom")  # in SQLite the shipper creates it
            query = sa.text("select * from reccom")
            rows = list(connection.execute(query).mappings()) if exists else []
        found.update((row["request_id"], row) for row in rows)
        assert len(found) == len(rows), "a request id occurs twice"
        return not missing()

    eventually(all_found, 120, lambda: f"{missing()} more records")
    return found


def check_records(engine: sa.Engine, model: Path, responses: Responses) -> None:
    """Check that every response that was received is in the database, unchanged."""
    rows = wait_for_rows(engine, set(responses.received))
    movie_ids = RecommendationLists.open(model).movie_ids
    for request_id, (user, text, version, source) in responses.received.items():
        row = rows[request_id]
        assert (row["user_id"], str(row["version_number"]), row["source"]) == (
            user, version, source
        )  # fmt: skip
        numbers = memoryview(row["movie_numbers"]).cast("H").tolist()
        assert ",".join(movie_ids[number] for number in numbers) == text
    request_id, (_, text, _, _) = next(iter(responses.received.items()))
    assert Lineage(engine).find_request(request_id)[0]["movie_ids"] == text.split(",")
