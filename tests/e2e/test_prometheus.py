"""What Prometheus sees is what happened."""

import os
import signal
import time
from collections.abc import Callable

import pytest
import requests
import yaml

from tests.support.load import attack
from tests.support.stack import PROMETHEUS, SLOTS, URL, Stack, docker, eventually

COUNT = 'sum(flask_http_request_duration_seconds_count{url_rule="/recommend/<user_id>"})'


def scraped(stack: Stack, expression: str) -> float:
    rows = stack.query(expression)
    return float(rows[0]["value"][1]) if rows else 0.0


def test_every_target_is_up(stack: Stack) -> None:
    file = stack.clone / "monitoring" / "prometheus" / "prometheus.yml"
    jobs = yaml.safe_load(file.read_text())["scrape_configs"]
    configured = sum(
        len(group["targets"]) for job in jobs for group in job.get("static_configs", [])
    )

    def all_up() -> bool:
        targets = requests.get(f"{PROMETHEUS}/api/v1/targets", timeout=5).json()["data"]
        states = {t["labels"].get("slot", t["labels"]["job"]): t["health"]
                  for t in targets["activeTargets"]}  # fmt: skip
        assert len(states) == configured
        return set(states.values()) == {"up"}

    eventually(all_up, 60, "every target up")


def test_slots_and_versions_are_labels(stack: Stack) -> None:
    requests.get(f"{URL}/recommend/1", timeout=0.6)
    for slot in SLOTS:
        eventually(
            lambda slot=slot: bool(stack.query(f'marquee_model_info{{slot="{slot}",version="1"}}')),  # type: ignore[misc]
            20,
            f"the model of {slot}",
        )


def series(stack: Stack, slot: str) -> int:
    return stack.compose(
        "exec", "-T", slot, "python", "-c",
        "import urllib.request as u; print(u.urlopen('http://127.0.0.1:8082/metrics').read().decode())",
    ).count("\n")  # fmt: skip


def test_series_do_not_grow_with_users(stack: Stack, figures: Callable[[str], None]) -> None:
    attack(URL, range(10), rate=100, seconds=2)
    few = {slot: series(stack, slot) for slot in SLOTS}
    attack(URL, range(100_000, 101_000), rate=200, seconds=5)
    many = {slot: series(stack, slot) for slot in SLOTS}
    figures(f"lines of /metrics by slot: {few} after 10 users, {many} after 1,000 more")
    assert few == many


@pytest.mark.skipif(os.geteuid() != 0, reason="killing a worker of a container needs root")
def test_counts_agree_also_after_a_worker_was_killed(
    stack: Stack, figures: Callable[[str], None]
) -> None:
    before = settled(stack)
    first = attack(URL, range(1000), rate=200, seconds=5)
    workers = docker("top", stack.container("stable-1"), "-o", "pid,ppid").splitlines()[1:]
    os.kill(int(workers[-1].split()[0]), signal.SIGKILL)
    time.sleep(2)
    second = attack(URL, range(1000), rate=200, seconds=5)
    counted = settled(stack) - before
    sent = first.sent + second.sent
    figures(f"requests sent {sent}, counted by Prometheus {counted:.0f}, one worker killed between")
    assert first.failed == second.failed == 0
    assert counted == sent


def settled(stack: Stack) -> float:
    """The count once two scrapes in a row agree."""
    last = -1.0
    for _ in range(20):
        now = scraped(stack, COUNT)
        if now == last:
            return now
        last = now
        time.sleep(6)
    raise AssertionError("the count does not settle")
