"""Prometheus scrapes every target, and its counts agree with the requests that were sent."""

import os
import signal
import time
from collections.abc import Callable

import pytest
import requests
from ruamel.yaml import YAML

from tests.support.load import attack
from tests.support.stack import PROMETHEUS, SLOTS, URL, Stack, docker, eventually

COUNT = 'sum(flask_http_request_duration_seconds_count{url_rule="/recommend/<user_id>"})'
#: Longer than the scrape interval.
SCRAPE_WAIT_SECONDS = 6


def test_every_configured_target_is_up(stack: Stack) -> None:
    file = stack.clone / "monitoring" / "prometheus" / "prometheus.yml"
    jobs = YAML(typ="safe").load(file)["scrape_configs"]
    configured = sum(
        len(group["targets"]) for job in jobs for group in job.get("static_configs", [])
    )

    def all_up() -> bool:
        targets = requests.get(f"{PROMETHEUS}/api/v1/targets", timeout=5).json()["data"]
        health = {t["labels"].get("slot", t["labels"]["job"]): t["health"]
                  for t in targets["activeTargets"]}  # fmt: skip
        return len(health) == configured and set(health.values()) == {"up"}

    eventually(all_up, 60, f"{configured} targets, all up")


def test_slot_and_version_are_labels(stack: Stack) -> None:
    requests.get(f"{URL}/recommend/1", timeout=0.6)
    for slot in SLOTS:
        query = f'marquee_model_info{{slot="{slot}",version=~"[0-9]+"}}'
        eventually(lambda query=query: bool(stack.query(query)), 20, query)  # type: ignore[misc]


def count_series(stack: Stack, slot: str) -> int:
    """Return the number of lines of a slot's `/metrics`."""
    fetch = (
        "import urllib.request as u;"
        "print(u.urlopen('http://127.0.0.1:8082/metrics').read().decode())"
    )
    return stack.compose("exec", "-T", slot, "python", "-c", fetch).count("\n")


def test_the_number_of_series_does_not_depend_on_the_number_of_users(
    stack: Stack, record_measurement: Callable[[str], None]
) -> None:
    attack(URL, range(10), rate=100, seconds=2)
    few_users = {slot: count_series(stack, slot) for slot in SLOTS}
    attack(URL, range(100_000, 101_000), rate=200, seconds=5)
    many_users = {slot: count_series(stack, slot) for slot in SLOTS}
    record_measurement(
        f"lines of /metrics by slot: {few_users} after 10 users, {many_users} after 1,000 more"
    )
    assert few_users == many_users


@pytest.mark.skipif(os.geteuid() != 0, reason="killing a worker of a container needs root")
def test_no_request_is_missing_in_the_counts_after_a_worker_was_killed(
    stack: Stack, record_measurement: Callable[[str], None]
) -> None:
    before = wait_for_stable_count(stack)
    first = attack(URL, range(1000), rate=200, seconds=5)
    workers = docker("top", stack.container("stable-1"), "-o", "pid,ppid").splitlines()[1:]
    os.kill(int(workers[-1].split()[0]), signal.SIGKILL)
    time.sleep(2)
    second = attack(URL, range(1000), rate=200, seconds=5)
    counted = wait_for_stable_count(stack) - before
    sent = first.sent + second.sent
    record_measurement(
        f"requests sent {sent}, counted by Prometheus {counted:.0f}, with one worker killed"
    )
    assert first.failed == second.failed == 0
    assert counted == sent


def wait_for_stable_count(stack: Stack) -> float:
    """Return the count of requests once two successive scrapes agree."""
    previous = -1.0
    for _ in range(20):
        count = stack.query_value(COUNT)
        if count == previous:
            return count
        previous = count
        time.sleep(SCRAPE_WAIT_SECONDS)
    raise AssertionError("the count of requests does not become stable")
