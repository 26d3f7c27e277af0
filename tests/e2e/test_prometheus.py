"""Prometheus scrapes every target, and its counts agree with the requests that were sent."""

import os
import signal
from collections.abc import Callable

import pytest
import requests
from ruamel.yaml import YAML

from tests.support.docker import docker
from tests.support.load import assert_available, attack
from tests.support.stack import PROMETHEUS, SLOTS, URL, Stack
from tests.support.waiting import eventually

COUNT = 'sum(flask_http_request_duration_seconds_count{url_rule="/recommend/<user_id>"})'
RATE = 100
MAX_RETRY_RATIO = 0.02


def test_every_configured_target_is_up(stack: Stack) -> None:
    file = stack.clone / "monitoring" / "prometheus" / "prometheus.yml"
    jobs = YAML(typ="safe").load(file)["scrape_configs"]
    configured = {
        (job["job_name"], target)
        for job in jobs
        for group in job.get("static_configs", [])
        for target in group["targets"]
    }

    def get_health() -> dict[tuple[str, str], str]:
        """Health by job and address, also of targets that the profile `demo` has left."""
        targets = requests.get(f"{PROMETHEUS}/api/v1/targets", timeout=5).json()["data"]
        return {
            (target["labels"]["job"], target["discoveredLabels"]["__address__"]): target["health"]
            for target in targets["activeTargets"]
        }

    def all_up() -> bool:
        health = get_health()
        return {health.get(target) for target in configured} == {"up"}

    eventually(all_up, 60, get_health)


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
    attack(URL, range(10), rate=RATE, seconds=2)
    few_users = {slot: count_series(stack, slot) for slot in SLOTS}
    attack(URL, range(100_000, 100_500), rate=RATE, seconds=5)
    many_users = {slot: count_series(stack, slot) for slot in SLOTS}
    record_measurement(
        f"lines of /metrics by slot: {few_users} after 10 users, {many_users} after 500 more"
    )
    assert few_users == many_users


@pytest.mark.skipif(os.geteuid() != 0, reason="killing a worker of a container needs root")
def test_no_request_is_missing_in_the_counts_after_a_worker_was_killed(
    stack: Stack, record_measurement: Callable[[str], None]
) -> None:
    stack.wait_for_scrape()
    before = stack.query_value(COUNT)
    first = attack(URL, range(1000), rate=RATE, seconds=3)
    processes = find_processes(stack)
    killed = processes[-1]
    os.kill(killed, signal.SIGKILL)
    eventually(
        lambda: killed not in (now := find_processes(stack)) and len(now) == len(processes),
        60, "a new worker",
    )  # fmt: skip
    second = attack(URL, range(1000), rate=RATE, seconds=3)
    stack.wait_for_scrape()
    counted = stack.query_value(COUNT) - before
    sent = first.sent + second.sent
    record_measurement(
        f"requests sent {sent}, counted by Prometheus {counted:.0f}, with one worker killed"
    )
    assert_available(first)
    assert_available(second)
    # NGINX sends a request again whose worker was killed or did not respond in time.
    assert first.ok + second.ok <= counted <= sent * (1 + MAX_RETRY_RATIO)


def find_processes(stack: Stack) -> list[int]:
    """Return the process ids of a slot in the order of their start: gunicorn's workers are last."""
    rows = docker("top", stack.container("stable-1"), "-o", "pid").splitlines()[1:]
    return sorted(int(row) for row in rows)
