"""Every answer that a client got stands in the database, once, as it was given."""

import base64
import os
import random
import statistics
import time
import zlib
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import pytest
import requests

from app.model.recommendation_lists import movie_number_dtype
from tests.support.load import Result, attack
from tests.support.stack import SLOTS, URL, Stack, docker, eventually

#: `make soak` sets these to the full figures.
SOAK = "MARQUEE_SOAK_SECONDS" in os.environ
REQUESTS = 100_000 if SOAK else 10_000
AWAY = 300 if SOAK else 30
RATE = 200
TRACE = "http://127.0.0.1:8083"
JOIN = (
    "select A.version_number, A.user_id, B.data_creation, B.trained_on, B.model_rmse "
    "from reccom A, tracking B where A.version_number = B.version_number "
    "order by A.version_number desc limit 2"
)


@dataclass
class Delivered:
    """What clients got, by request id and slot."""

    answers: dict[tuple[str, str], tuple[str, int, str]] = field(default_factory=dict)

    def __call__(self, hit: dict[str, Any]) -> None:
        if hit["code"] != 200:
            return
        headers = {name: values[0] for name, values in hit["headers"].items()}
        key = headers["X-Request-Id"], headers["X-Slot"]
        assert key not in self.answers
        user = int(hit["url"].rsplit("/", 1)[1])
        text = base64.b64decode(hit["body"]).decode()
        self.answers[key] = headers["X-Model-Version"], user, text


def drained(stack: Stack) -> None:
    """Wait until nothing waits in the queue."""

    def empty() -> bool:
        try:
            text = requests.get(f"{TRACE}/metrics", timeout=3).text
        except requests.ConnectionError:
            return False
        return "\nmarquee_queue_records 0.0" in text

    eventually(empty, 60, "an empty queue")


def compare(stack: Stack, delivered: Delivered) -> str:
    """Hold the table against what clients got; what the figures say of it."""
    drained(stack)
    names = dict(stack.sql("select model_hash, hex(names) from catalogue"))
    (model_hash,) = {row[0] for row in stack.sql("select distinct model_hash from build")}
    movies = zlib.decompress(bytes.fromhex(names[model_hash])).decode().split("\n")
    rows = stack.sql(
        "select request_id, slot, version_number, user_id, hex(movies), given_up from reccom"
    )
    found = {(row[0], row[1]): row for row in rows}
    assert len(found) == len(rows), "a key stands twice"
    lost = delivered.answers.keys() - found.keys()
    assert not lost, f"{len(lost)} of {len(delivered.answers)} answers are not in reccom"
    kind = movie_number_dtype(len(movies))
    for key, (version, user, text) in delivered.answers.items():
        row = found[key]
        numbers = np.frombuffer(bytes.fromhex(row[4]), kind).tolist()
        assert (row[2], row[3], row[5]) == (version, str(user), "0"), key
        assert ",".join(movies[number] for number in numbers) == text, key
    tries = Counter(key[0] for key in found)
    asked = {request_id for request_id, _ in delivered.answers}
    twice = sum(count > 1 for request_id, count in tries.items() if request_id in asked)
    return f"{len(delivered.answers)} delivered, lost 0, doubled 0, {twice} with a second try"


@pytest.fixture(autouse=True)
def emptied(stack: Stack) -> None:
    """Begin with no answers in the table."""
    drained(stack)
    stack.sql("truncate reccom")


def test_every_delivered_answer_is_recorded_as_it_was_given(
    stack: Stack, figures: Callable[[str], None]
) -> None:
    users = random.Random(9).choices(range(5000), k=REQUESTS)
    delivered = Delivered()
    result = attack(URL, users, rate=500, seconds=REQUESTS / 500, each=delivered)
    assert result.failed == 0, result
    assert len(delivered.answers) == REQUESTS
    figures(f"provenance: {compare(stack, delivered)}; {result}")


def test_the_join_gives_rows(stack: Stack) -> None:
    requests.get(f"{URL}/recommend/42", timeout=0.6)
    drained(stack)
    rows = stack.sql(JOIN)
    assert rows[0][:2] == ["1", "42"]
    assert float(rows[0][4]) > 0


def test_an_answer_is_traced_by_its_id(stack: Stack) -> None:
    answer = requests.get(f"{URL}/recommend/42", timeout=0.6)
    request_id = answer.headers["X-Request-Id"]
    drained(stack)
    (record,) = requests.get(f"{TRACE}/trace/{request_id}", timeout=3).json()["records"]
    assert record["movie_ids"] == answer.text.split(",")
    assert record["slot"] == answer.headers["X-Slot"]
    assert record["build"]["build_id"].startswith("unknown-")
    printed = stack.compose("exec", "-T", "shipper", "marquee", "trace", "--user", "42")
    assert request_id in printed
    assert requests.get(f"{URL}/trace/{request_id}", timeout=0.6).status_code == 404


def test_a_try_that_was_given_up_is_named_so(stack: Stack) -> None:
    """A slot that stalls answers late; NGINX asks another, and only that one is delivered."""
    docker("pause", stack.container("canary"))
    delivered = Delivered()
    try:
        result = attack(URL, range(100), rate=50, seconds=3, each=delivered)
    finally:
        docker("unpause", stack.container("canary"))
    assert result.failed == 0, result
    time.sleep(1)
    compare(stack, delivered)
    late = stack.sql("select given_up, count(*) from reccom where slot = 'canary' group by 1")
    assert [row[0] for row in late] == ["1"], late


def under_load(during: Callable[[], object] | None, seconds: float) -> tuple[Result, Delivered]:
    delivered = Delivered()
    return attack(URL, range(5000), RATE, seconds, during=during, each=delivered), delivered


@pytest.mark.timeout(300 + 6 * AWAY)
def test_a_stopped_database_costs_no_answer_and_no_record(
    stack: Stack, figures: Callable[[str], None]
) -> None:
    def away() -> None:
        stack.compose("stop", "mysql")
        time.sleep(AWAY)
        stack.compose("start", "mysql")

    pairs = []
    for _ in range(3 if SOAK else 1):
        undisturbed, first = under_load(None, 15)
        disturbed, second = under_load(away, AWAY + 25)
        assert disturbed.failed == 0, disturbed
        eventually(lambda: sql_answers(stack), 60, "the database")
        said = compare(stack, Delivered(first.answers | second.answers))
        pairs.append((undisturbed.percentile(0.99), disturbed.percentile(0.99)))
    calm, away_p99 = (1000 * statistics.median(p) for p in zip(*pairs, strict=True))
    figures(
        f"database stopped for {AWAY} s at {RATE}/s: 0 failed, {said}; "
        f"p99 {away_p99:.1f} ms beside {calm:.1f} ms undisturbed"
    )


def sql_answers(stack: Stack) -> bool:
    """Whether the database takes statements."""
    try:
        return bool(stack.sql("select 1"))
    except AssertionError:
        return False


def test_whatever_is_killed_nothing_is_lost_or_doubled(
    stack: Stack, figures: Callable[[str], None]
) -> None:
    chance = random.Random(9)
    killed: Counter[str] = Counter()
    kill_worker = (
        "import os; own = [p for p in os.listdir('/proc') if p.isdigit() and int(p) > 1 and "
        "int(p) != os.getpid() and b'gunicorn' in open(f'/proc/{p}/cmdline', 'rb').read()]; "
        "[os.kill(int(pid), 9) for pid in own[:1]]"  # none: the slot is just starting
    )

    def kill() -> None:
        for _ in range(12 if SOAK else 4):
            slot = chance.choice(SLOTS)
            stack.compose("exec", "-T", slot, "python", "-c", kill_worker)
            for service in ("shipper", chance.choice(SLOTS)):
                container = stack.container(service)
                docker("kill", container)
                time.sleep(chance.uniform(0.2, 1))
                docker("start", container)
                killed[service if service == "shipper" else "slot"] += 1
            killed["worker"] += 1
            time.sleep(2)

    result, delivered = under_load(kill, 120 if SOAK else 45)
    figures(f"killed {dict(killed)} at {RATE}/s: {compare(stack, delivered)}; {result}")
