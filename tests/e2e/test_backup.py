"""Everything is lost but a backup; then it is there again, and goes on."""

import json
import subprocess
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import IO, Any

import pytest
import requests
from kafka import KafkaProducer

from tests.e2e.test_provenance import TRACE, drained
from tests.support.stack import URL, Stack, eventually

TOPIC = "backup"
#: Rows, and what is in them, in no order.
CONTENT = {
    "reccom": "request_id, slot, version_number, user_id, time, source, took, build_id, hex(movies)",
    "tracking": "version_number, model_rmse, data_hash, model_hash, parameters",
    "build": "build_id, version_number, model_hash, git_commit, image_digest",
    "catalogue": "model_hash, movies, hex(names)",
}


def through_pipe(
    stack: Stack, *arguments: str, given: IO[bytes] | bytes = b"", out: IO[bytes] | None = None
) -> tuple[bytes, str]:
    """Run `docker compose` with bytes in and out; what it said."""
    source: dict[str, Any] = {"input": given} if isinstance(given, bytes) else {"stdin": given}
    done = subprocess.run(
        ["docker", "compose", *arguments], cwd=stack.clone, env=stack.environment, timeout=300,
        stdout=out or subprocess.PIPE, stderr=subprocess.PIPE, check=False, **source,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr.decode()
    return done.stdout, done.stderr.decode()


def held(said: str) -> dict[str, int]:
    """How many rows and files went through, as the command tells last."""
    found: dict[str, int] = json.loads(said.strip().splitlines()[-1])
    return found


def watched(first: int, users: int) -> list[bytes]:
    """Lines of so many users, each of whom watches one minute."""
    line = "2022-11-14T12:24,{},GET /data/m/whiplash+2014/42.mpg"
    return [line.format(user).encode() for user in range(first, first + users)]


def tables(stack: Stack) -> dict[str, list[str]]:
    """Rows and content of each table."""
    summed = "select count(*), sum(crc32(concat_ws('|', {}))) from {}"
    return {name: stack.sql(summed.format(row, name))[0] for name, row in CONTENT.items()}


def events(stack: Stack) -> dict[str, Any]:
    told = stack.compose("exec", "-T", "collector", "marquee", "data", "stats", "--json")
    found: dict[str, Any] = json.loads(told)
    return found


@pytest.fixture
def restored(stack: Stack) -> Iterator[Stack]:
    """The stack, which has a broker afterwards; in the end it is as it was."""
    environment = stack.clone / ".env"
    assert not environment.exists()
    yield stack
    environment.unlink(missing_ok=True)
    stack.compose("--profile", "demo", "rm", "--stop", "--force", "kafka")
    stack.compose("up", "-d", "--wait")


@pytest.mark.timeout(600)
def test_an_empty_stack_has_all_again_and_goes_on(
    restored: Stack, tmp_path: Path, figures: Callable[[str], None]
) -> None:
    stack = restored
    answers = [requests.get(f"{URL}/recommend/{user}", timeout=0.6) for user in range(200, 300)]
    assert {answer.status_code for answer in answers} == {200}
    collect = ("exec", "-T", "collector", "marquee", "collect", "--file", "-")
    through_pipe(stack, *collect, given=b"\n".join(watched(10**7, 1000)))
    drained(stack)
    rows, store = tables(stack), events(stack)
    archive = tmp_path / "all.tar.gz"
    begun = time.monotonic()
    with archive.open("wb") as out:
        _, said = through_pipe(stack, "run", "--rm", "-T", "archive", "backup", "-", out=out)
    seconds = [time.monotonic() - begun]
    written = held(said)
    assert written["reccom"] == int(rows["reccom"][0]) >= len(answers)
    assert written["store"] == sum(store["files"].values()) + 1

    stack.compose("down", "--volumes", "--timeout", "5")
    # The new stack's collector has a broker: it makes a store of its own before the restore.
    (stack.clone / ".env").write_text(
        f"MARQUEE_KAFKA_SERVERS=kafka:9092\nMARQUEE_KAFKA_TOPIC={TOPIC}\n"
    )
    stack.compose("up", "-d", "--wait")
    stack.compose("up", "-d", "--wait", "kafka")
    assert stack.sql("select count(*) from reccom") == [["0"]]
    eventually(lambda: events(stack)["pairs"] == 0, 30, "a store without events")
    restore = ("run", "--rm", "-T", "archive", "restore-backup", "-")
    with archive.open("rb") as source, pytest.raises(AssertionError, match="being written by"):
        through_pipe(stack, *restore, given=source)
    stack.compose("stop", "collector")
    begun = time.monotonic()
    with archive.open("rb") as source:
        _, said = through_pipe(stack, *restore, given=source)
    seconds.append(time.monotonic() - begun)
    assert held(said) == written
    stack.compose("start", "collector")

    assert tables(stack) == rows
    assert events(stack) == store
    for answer in answers:
        request_id = answer.headers["X-Request-Id"]
        told = requests.get(f"{TRACE}/trace/{request_id}", timeout=3).json()["records"]
        (record,) = [one for one in told if one["slot"] == answer.headers["X-Slot"]]
        assert record["movie_ids"] == answer.text.split(",")
        assert str(record["version_number"]) == answer.headers["X-Model-Version"]
    trace = ("exec", "-T", "shipper", "marquee", "trace", "--json", "--request", request_id)
    assert record in [json.loads(line) for line in stack.compose(*trace).splitlines()]

    with KafkaProducer(bootstrap_servers="127.0.0.1:9094") as producer:
        for line in watched(2 * 10**7, 500):
            producer.send(TOPIC, line)
        producer.flush()
    eventually(lambda: events(stack)["pairs"] == store["pairs"] + 500, 60, "what came after")
    newer = requests.get(f"{URL}/recommend/42", timeout=0.6).headers["X-Request-Id"]
    drained(stack)
    assert requests.get(f"{TRACE}/trace/{newer}", timeout=3).status_code == 200
    figures(
        f"backup of {written['reccom']} answers and {store['pairs']} pairs: {seconds[0]:.1f} s, "
        f"{archive.stat().st_size / 1e6:.1f} MB; restored into an empty stack: {seconds[1]:.1f} s"
    )
