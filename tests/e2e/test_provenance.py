"""Every response that a client received is in the database exactly once, unchanged."""

import random
import time
from collections import Counter
from collections.abc import Callable

import pytest
import requests

from tests.support.delivered import Delivered, compare
from tests.support.docker import docker
from tests.support.load import Result, assert_available, attack
from tests.support.shipper import count_spooled_records, wait_until_shipped
from tests.support.soak import IS_SOAK
from tests.support.stack import SHIPPER_URL, SLOTS, URL, Stack
from tests.support.waiting import eventually

RATE = 200 if IS_SOAK else 100
REQUESTS = RATE * (500 if IS_SOAK else 15)
#: Requests that are recorded while the database is stopped.
OUTAGE_REQUESTS = RATE * (300 if IS_SOAK else 5)
KILL_ROUNDS = 12 if IS_SOAK else 2
MAX_SECONDS = 800

pytestmark = pytest.mark.timeout(900)
JOIN = (
    "select A.version_number, A.user_id, B.data_creation, B.trained_on, B.model_rmse "
    "from reccom A, tracking B where A.version_number = B.version_number "
    "order by A.version_number desc limit 2"
)


@pytest.fixture(autouse=True)
def empty_table(stack: Stack) -> None:
    """Delete the records of earlier tests."""
    wait_until_shipped()
    stack.sql("truncate reccom")


def test_every_delivered_response_is_recorded_unchanged(
    stack: Stack, record_measurement: Callable[[str], None]
) -> None:
    users = random.Random(9).choices(range(5000), k=REQUESTS)
    delivered = Delivered()
    result = attack(URL, users, RATE, REQUESTS / RATE, on_response=delivered)
    assert_available(result)
    assert len(delivered.responses) >= result.ok
    record_measurement(f"provenance: {compare(stack, delivered)}; {result}")


def test_reccom_can_be_joined_with_tracking(stack: Stack) -> None:
    requests.get(f"{URL}/recommend/42", timeout=0.6)
    wait_until_shipped()
    rows = stack.sql(JOIN)
    assert rows[0][:2] == ["1", "42"]
    assert float(rows[0][4]) > 0


def test_a_recommendation_is_traced_by_its_request_id(stack: Stack) -> None:
    response = requests.get(f"{URL}/recommend/42", timeout=0.6)
    request_id = response.headers["X-Request-Id"]
    wait_until_shipped()
    (record,) = requests.get(f"{SHIPPER_URL}/trace/{request_id}", timeout=3).json()["records"]
    assert record["movie_ids"] == response.text.split(",")
    assert record["slot"] == response.headers["X-Slot"]
    assert record["build"]["build_id"].startswith("unknown-")
    printed = stack.compose("exec", "-T", "shipper", "marquee", "trace", "--user", "42")
    assert request_id in printed
    assert requests.get(f"{URL}/trace/{request_id}", timeout=0.6).status_code == 404


def test_records_are_shipped_while_a_newer_slot_writes_another_format(stack: Stack) -> None:
    """Its segment is kept; `marquee requeue` names it, and reads it once it is of a known form."""
    name = "0000000000000001-canary-1"
    in_canary = ("exec", "-T", "canary", "sh", "-c")
    stack.compose(
        *in_canary, f"echo later >/spool/.{name} && mv /spool/.{name} /spool/{name}.v9.segment"
    )
    response = requests.get(f"{URL}/recommend/42", timeout=0.6)
    wait_until_shipped()
    trace = f"{SHIPPER_URL}/trace/{response.headers['X-Request-Id']}"
    assert requests.get(trace, timeout=3).status_code == 200
    metrics = requests.get(f"{SHIPPER_URL}/metrics", timeout=3).text
    labels = '{kind="segment",reason="format"}'
    assert f"marquee_provenance_quarantined_files_total{labels} 1.0" in metrics
    with pytest.raises(AssertionError, match="format 9; this program reads 1 and 2"):
        stack.compose("exec", "-T", "shipper", "marquee", "requeue")
    stack.compose("exec", "-T", "shipper", "rm", f"/spool/quarantine/{name}.v9.segment")
    assert "0 files" in stack.compose("exec", "-T", "shipper", "marquee", "requeue")


def test_a_response_that_came_too_late_is_marked_client_gone(stack: Stack) -> None:
    """A paused slot responds late; NGINX retries at another, whose response is delivered."""
    docker("pause", stack.container("canary"))
    delivered = Delivered()
    try:
        result = attack(URL, range(100), rate=50, seconds=3, on_response=delivered)
    finally:
        docker("unpause", stack.container("canary"))
    assert_available(result)
    late = "select distinct client_gone from reccom where slot = 'canary'"
    eventually(lambda: stack.sql(late) != [], 60, "late records", 0.5)
    compare(stack, delivered)
    assert stack.sql(late) == [["1"]]


def measure_under_load(during: Callable[[], object]) -> tuple[Result, Delivered]:
    """Run something under load; return the result of the load and the delivered responses."""
    delivered = Delivered()
    result = attack(
        URL, range(5000), RATE, MAX_SECONDS, during, on_response=delivered, stop_early=True
    )
    return result, delivered


def test_no_request_fails_and_no_record_is_lost_while_the_database_is_stopped(
    stack: Stack, record_measurement: Callable[[str], None]
) -> None:
    def stop_database() -> None:
        stack.compose("stop", "mysql")
        eventually(
            lambda: count_spooled_records() > OUTAGE_REQUESTS, MAX_SECONDS, "spooled records"
        )
        stack.compose("start", "mysql")
        eventually(stack.accepts_statements, 60, "the database", 0.5)

    result, delivered = measure_under_load(stop_database)
    assert_available(result)
    record_measurement(
        f"database stopped for {OUTAGE_REQUESTS} requests at {RATE}/s: 0 failed, "
        f"{compare(stack, delivered)}; {result}"
    )


def test_no_record_is_lost_or_duplicated_when_processes_are_killed(
    stack: Stack, record_measurement: Callable[[str], None]
) -> None:
    rng = random.Random(9)
    killed: Counter[str] = Counter()
    kill_worker = (
        "import os; own = [p for p in os.listdir('/proc') if p.isdigit() and int(p) > 1 and "
        "int(p) != os.getpid() and b'gunicorn' in open(f'/proc/{p}/cmdline', 'rb').read()]; "
        "[os.kill(int(pid), 9) for pid in own[:1]]"  # none while the slot is starting
    )

    def kill() -> None:
        for _ in range(KILL_ROUNDS):
            slot = rng.choice(SLOTS)
            stack.compose("exec", "-T", slot, "python", "-c", kill_worker)
            killed["worker"] += 1
            for service in ("shipper", rng.choice(SLOTS)):
                container = stack.container(service)
                docker("kill", container)
                time.sleep(rng.uniform(0.2, 1))
                docker("start", container)
                killed[service if service == "shipper" else "slot"] += 1
            stack.wait_until_serving(service)

    result, delivered = measure_under_load(kill)
    record_measurement(f"killed {dict(killed)} at {RATE}/s: {compare(stack, delivered)}; {result}")
