"""Paused and slow slots: NGINX retries within its time budget, and no request fails."""

import os
import signal
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager

import pytest

from tests.conftest import ROOT
from tests.support.load import attack
from tests.support.stack import PROJECT, SLOTS, URL, Stack, docker

FAULTY = ROOT / "tests" / "e2e" / "faulty"
#: Longer than the ten seconds of 502s that NGINX would return after a stall with its default
#: `max_fails` and `fail_timeout`.
LOAD_AFTER_STALLS_SECONDS = 12


@contextmanager
def faulty_canary(stack: Stack, fault: str) -> Iterator[None]:
    """Deploy an image with a fault to the canary slot, by its tag as a release does."""
    original = docker("image", "inspect", "--format", "{{.Id}}", f"{PROJECT}:canary").strip()
    docker(
        "build", "--quiet", f"--build-arg=BASE={PROJECT}:stable-1", f"--build-arg=FAULT={fault}",
        f"--tag={PROJECT}:canary", str(FAULTY),
    )  # fmt: skip
    try:
        stack.recreate("canary")
        yield
    finally:
        docker("tag", original, f"{PROJECT}:canary")
        stack.recreate("canary")


def test_no_request_fails_while_a_slot_is_paused(
    stack: Stack, record_measurement: Callable[[str], None]
) -> None:
    def pause() -> None:
        time.sleep(3)
        stack.compose("pause", "stable-2")
        time.sleep(8)
        stack.compose("unpause", "stable-2")

    result = attack(URL, range(1000), 200, 18, during=pause)
    record_measurement(f"one slot paused for 8 s: {result}")
    assert result.failed == 0, result


def test_no_request_fails_with_a_canary_of_300_ms_latency(
    stack: Stack, record_measurement: Callable[[str], None]
) -> None:
    with faulty_canary(stack, "slow:0.3"):
        result = attack(URL, range(1000), 20, 15)
    record_measurement(f"canary with 300 ms latency: {result}, by slot {dict(result.slots)}")
    assert result.failed == 0, result


@pytest.mark.skipif(os.geteuid() != 0, reason="stopping processes of containers needs root")
def test_no_request_fails_when_all_slots_stall_at_once(
    stack: Stack, record_measurement: Callable[[str], None]
) -> None:
    pids = [
        int(line.split()[0])
        for slot in SLOTS
        for line in docker("top", stack.container(slot), "-o", "pid").splitlines()[1:]
    ]

    def stall() -> None:
        for _ in range(5):
            time.sleep(2)
            for pid in pids:
                os.kill(pid, signal.SIGSTOP)
            time.sleep(0.4)
            for pid in pids:
                os.kill(pid, signal.SIGCONT)
        time.sleep(LOAD_AFTER_STALLS_SECONDS)

    result = attack(URL, range(1000), 200, 28, during=stall)
    record_measurement(f"all slots stalled for 0.4 s, five times: {result}")
    assert result.failed == 0, result
