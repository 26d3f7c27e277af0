"""A stack whose volumes were removed is restored from a backup and continues."""

import itertools
import json
import subprocess
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import IO, Any

import pytest
import requests
import sqlalchemy as sa

from app.provenance.backup import restore_backup
from app.provenance.database import connect
from app.settings import Settings
from tests.support.shipper import wait_until_shipped
from tests.support.soak import soak_only
from tests.support.stack import SHIPPER_URL, URL, Stack
from tests.support.stream import send_lines, wait_until_collected
from tests.support.waiting import eventually

TOPIC = "backup"
#: Shares of an archive after which it is cut.
CUTS = (0, 0.01, 0.1, 0.25, 0.4, 0.55, 0.7, 0.85, 0.99, 0.99999)
#: The columns of each table that are compared.
COLUMNS = {
    "reccom": "request_id, slot, version_number, user_id, answered_at_us, source, duration_us, "
    "build_id, hex(movie_numbers), configuration_id, hex(recent_events)",
    "tracking": "version_number, model_rmse, data_hash, model_hash, parameters",
    "build": "build_id, version_number, model_hash, git_commit, image_digest",
    "configuration": "configuration_id, model_hash, list_length, hidden_movies, data_newest",
    "catalogue": "model_hash, movie_count, hex(movie_ids)",
}


def compose_with_pipes(
    stack: Stack, *arguments: str, stdin: IO[bytes] | bytes = b"", stdout: IO[bytes] | None = None
) -> str:
    """Run `docker compose` with these standard streams; return what it wrote to stderr."""
    source: dict[str, Any] = {"input": stdin} if isinstance(stdin, bytes) else {"stdin": stdin}
    done = subprocess.run(
        ["docker", "compose", *arguments], cwd=stack.clone, env=stack.environment, timeout=300,
        stdout=stdout or subprocess.PIPE, stderr=subprocess.PIPE, check=False, **source,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr.decode()
    stderr: str = done.stderr.decode()
    return stderr


def read_counts(stderr: str) -> dict[str, int]:
    """The numbers of rows and files in the command's last line."""
    counts: dict[str, int] = json.loads(stderr.strip().splitlines()[-1])
    return counts


def watch_lines(first: int, users: int) -> list[str]:
    """Log lines of this many users, each of whom watches one minute."""
    line = "2022-11-14T12:24,{},GET /data/m/whiplash+2014/42.mpg"
    return [line.format(user) for user in range(first, first + users)]


def read_tables(stack: Stack) -> dict[str, list[str]]:
    """The number of rows and a checksum of each table."""
    query = "select count(*), sum(crc32(concat_ws('|', {}))) from {}"
    return {name: stack.sql(query.format(columns, name))[0] for name, columns in COLUMNS.items()}


@pytest.fixture
def stack_with_kafka(stack: Stack) -> Iterator[Stack]:
    """The stack, to which the test adds a broker; it is removed afterwards."""
    environment = stack.clone / ".env"
    assert not environment.exists()
    yield stack
    environment.unlink(missing_ok=True)
    stack.compose("--profile", "demo", "rm", "--stop", "--force", "kafka")
    stack.compose("up", "-d", "--wait")


def send_requests(stop: threading.Event, responses: list[requests.Response]) -> None:
    """Send requests of many users until `stop` is set."""
    user = itertools.count(300)
    while not stop.wait(0.01):
        responses.append(requests.get(f"{URL}/recommend/{next(user)}", timeout=5))


@soak_only
@pytest.mark.timeout(600)
def test_a_backup_under_load_is_a_snapshot_and_is_refused_when_it_was_cut(
    stack: Stack, tmp_path: Path
) -> None:
    before = [requests.get(f"{URL}/recommend/{user}", timeout=5) for user in range(200, 260)]
    wait_until_shipped()
    archive, during, stop = tmp_path / "all.tar.gz", list[requests.Response](), threading.Event()
    load = threading.Thread(target=send_requests, args=(stop, during))
    load.start()
    try:
        with archive.open("wb") as out:
            backup = ("run", "--rm", "-T", "archive", "backup", "-")
            written = read_counts(compose_with_pipes(stack, *backup, stdout=out))
    finally:
        stop.set()
        load.join()
    assert {response.status_code for response in during} == {200}
    wait_until_shipped()
    # Restored into another database: each row is one of the stack's, none of before is missing.
    engine = connect(Settings(database=f"sqlite:///{tmp_path}/restored.db"))
    with archive.open("rb") as source:
        assert restore_backup(engine, tmp_path / "store", source) == written
    with engine.connect() as connection:
        rows = connection.execute(sa.text("select request_id, slot, user_id, build_id from reccom"))
        restored = {tuple(map(str, row)) for row in rows}
    stored = set(map(tuple, stack.sql("select request_id, slot, user_id, build_id from reccom")))
    assert restored <= stored
    assert len(restored) == written["reccom"]
    assert {r.headers["X-Request-Id"] for r in before} <= {
        request_id for request_id, *_ in restored
    }

    content, counts = archive.read_bytes(), read_tables(stack)
    restore = ("run", "--rm", "-T", "archive", "restore-backup", "-")
    stack.compose("stop", "collector")
    try:
        for share in CUTS:
            with pytest.raises(AssertionError, match=r"cannot restore the backup|no backup"):
                compose_with_pipes(stack, *restore, stdin=content[: int(len(content) * share)])
    finally:
        stack.compose("start", "collector")
    assert read_tables(stack) == counts


@pytest.mark.timeout(600)
def test_an_empty_stack_is_restored_from_a_backup_and_continues(
    stack_with_kafka: Stack, tmp_path: Path, record_measurement: Callable[[str], None]
) -> None:
    stack = stack_with_kafka
    responses = [requests.get(f"{URL}/recommend/{user}", timeout=0.6) for user in range(200, 300)]
    assert {response.status_code for response in responses} == {200}
    collect = ("exec", "-T", "collector", "marquee", "collect", "--file", "-")
    compose_with_pipes(stack, *collect, stdin="\n".join(watch_lines(10**7, 1000)).encode())
    wait_until_shipped()
    rows, store = read_tables(stack), stack.read_store_statistics()
    archive = tmp_path / "all.tar.gz"
    started = time.monotonic()
    backup = ("run", "--rm", "-T", "archive", "backup", "-")
    with archive.open("wb") as out:
        stderr = compose_with_pipes(stack, *backup, stdout=out)
    seconds = [time.monotonic() - started]
    written = read_counts(stderr)
    assert written["reccom"] == int(rows["reccom"][0]) >= len(responses)
    assert written["store"] == sum(store["files"].values()) + 1

    stack.compose("down", "--volumes", "--timeout", "5")
    # The new stack's collector has a broker: it creates a store of its own before the restore.
    stack.write_settings({"MARQUEE_KAFKA_SERVERS": "kafka:9092", "MARQUEE_KAFKA_TOPIC": TOPIC})
    services = stack.compose("config", "--services").split()
    stack.compose("--profile", "demo", "up", "-d", "--wait", *services, "kafka")
    assert stack.sql("select count(*) from reccom") == [["0"]]
    eventually(lambda: stack.read_store_statistics()["pairs"] == 0, 60, "an empty store", 0.5)
    restore = ("run", "--rm", "-T", "archive", "restore-backup", "-")
    with archive.open("rb") as source, pytest.raises(AssertionError, match="being written by"):
        compose_with_pipes(stack, *restore, stdin=source)
    stack.compose("stop", "collector")
    started = time.monotonic()
    with archive.open("rb") as source:
        stderr = compose_with_pipes(stack, *restore, stdin=source)
    seconds.append(time.monotonic() - started)
    assert read_counts(stderr) == written
    stack.compose("start", "collector")

    assert read_tables(stack) == rows
    assert stack.read_store_statistics() == store
    for response in responses:
        request_id = response.headers["X-Request-Id"]
        traced = requests.get(f"{SHIPPER_URL}/trace/{request_id}", timeout=3).json()["records"]
        (record,) = [found for found in traced if found["slot"] == response.headers["X-Slot"]]
        assert record["movie_ids"] == response.text.split(",")
        assert str(record["version_number"]) == response.headers["X-Model-Version"]
    trace = ("exec", "-T", "shipper", "marquee", "trace", "--json", "--request", request_id)
    assert record in [json.loads(line) for line in stack.compose(*trace).splitlines()]

    send_lines(TOPIC, watch_lines(2 * 10**7, 500))
    wait_until_collected(TOPIC)
    assert stack.read_store_statistics()["pairs"] == store["pairs"] + 500
    newer = requests.get(f"{URL}/recommend/42", timeout=0.6).headers["X-Request-Id"]
    wait_until_shipped()
    assert requests.get(f"{SHIPPER_URL}/trace/{newer}", timeout=3).status_code == 200
    record_measurement(
        f"backup of {written['reccom']} records and {store['pairs']} pairs: {seconds[0]:.1f} s, "
        f"{archive.stat().st_size / 1e6:.1f} MB; restored into an empty stack: {seconds[1]:.1f} s"
    )
