"""Slots that freeze, dawdle or stall: the edge's time budget keeps every answer in 600 ms."""

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


@contextmanager
def faulty_canary(stack: Stack, fault: str) -> Iterator[None]:
    """Put a version with a fault into the canary slot, by its tag, as a release would."""
    good = docker("image", "inspect", "--format", "{{.Id}}", f"{PROJECT}:canary").strip()
    docker(
        "build", "--quiet", f"--build-arg=BASE={PROJECT}:stable-1", f"--build-arg=FAULT={fault}",
        f"--tag={PROJECT}:canary", str(FAULTY),
    )  # fmt: skip
    try:
        stack.replace("canary")
        yield
    finally:
        docker("tag", good, f"{PROJECT}:canary")
        stack.replace("canary")


def test_a_frozen_slot_fails_nobody(stack: Stack, figures: Callable[[str], None]) -> None:
    def freeze() -> None:
        time.sleep(3)
        stack.compose("pause", "stable-2")
        time.sleep(8)
        stack.compose("unpause", "stable-2")

    result = attack(URL, range(1000), 200, 18, during=freeze)
    figures(f"one slot frozen for 8 s: {result}")
    assert result.failed == 0, result


def test_a_canary_of_300_ms_fails_nobody(stack: Stack, figures: Callable[[str], None]) -> None:
    with faulty_canary(stack, "slow:0.3"):
        result = attack(URL, range(1000), 20, 15)
    figures(f"canary answers after 300 ms: {result}, by slot {dict(result.slots)}")
    assert result.failed == 0, result


@pytest.mark.skipif(os.geteuid() != 0, reason="stopping processes of containers needs root")
def test_a_stall_of_all_slots_fails_nobody_and_nothing_after(
    stack: Stack, figures: Callable[[str], None]
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
        time.sleep(12)  # long enough for the ten seconds of 502s that max_fails would bring

    result = attack(URL, range(1000), 200, 28, during=stall)
    figures(f"all slots stalled for 0.4 s, five times: {result}")
    assert result.failed == 0, result
