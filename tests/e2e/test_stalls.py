"""Paused and slow slots: NGINX retries within its time budget, and no request fails."""

import os
import signal
import time
from collections.abc import Callable
from contextlib import suppress

import pytest

from tests.support.docker import docker
from tests.support.faulty import faulty_canary
from tests.support.load import assert_available, attack
from tests.support.soak import IS_SOAK
from tests.support.stack import SLOTS, URL, Stack
from tests.support.waiting import eventually

RATE = 100
RULE = 'url_rule="/recommend/<user_id>"'
STALLS = 20 if IS_SOAK else 3
MAX_SECONDS = 120
#: Durations of the faults. With its default `max_fails` NGINX would return 502s from the end of a
#: stall on, for ten seconds.
PAUSE_SECONDS, STALL_SECONDS, AFTER_STALL_SECONDS = 5, 0.4, 2


def send_signal(pids: list[int], number: signal.Signals) -> None:
    """Send a signal to processes; one that has ended meanwhile is left out."""
    for pid in pids:
        with suppress(ProcessLookupError):
            os.kill(pid, number)


def test_no_request_fails_while_a_slot_is_paused(
    stack: Stack, record_measurement: Callable[[str], None]
) -> None:
    def pause() -> None:
        stack.wait_until_serving("stable-2")
        stack.compose("pause", "stable-2")
        time.sleep(PAUSE_SECONDS)
        stack.compose("unpause", "stable-2")
        stack.wait_until_serving("stable-2")

    result = attack(URL, range(1000), RATE, MAX_SECONDS, during=pause, stop_early=True)
    record_measurement(f"one slot paused for {PAUSE_SECONDS} s: {result}")
    assert_available(result)


def test_no_request_fails_with_a_canary_of_300_ms_latency(
    stack: Stack, record_measurement: Callable[[str], None]
) -> None:
    count = f'sum(flask_http_request_duration_seconds_count{{slot="canary",{RULE}}})'
    with faulty_canary(stack, "slow:0.3"):
        stack.wait_for_scrape()
        before = stack.query_value(count)
        result = attack(
            URL, range(1000), 20, MAX_SECONDS, stop_early=True,
            during=lambda: eventually(
                lambda: stack.query_value(count) >= before + 20, 60, "requests to the canary"
            ),
        )  # fmt: skip
    record_measurement(f"canary with 300 ms latency: {result}, by slot {dict(result.slots)}")
    assert_available(result)


@pytest.mark.skipif(os.geteuid() != 0, reason="stopping processes of containers needs root")
def test_no_request_fails_when_all_slots_stall_at_once(
    stack: Stack, record_measurement: Callable[[str], None]
) -> None:
    containers = [stack.container(slot) for slot in SLOTS]

    def stall() -> None:
        for _ in range(STALLS):
            stack.wait_until_serving("canary")
            # Listed each time: health checks come and go, and their numbers are used again.
            pids = [
                int(line.split()[0])
                for container in containers
                for line in docker("top", container, "-o", "pid").splitlines()[1:]
            ]
            try:
                send_signal(pids, signal.SIGSTOP)
                time.sleep(STALL_SECONDS)
            finally:
                send_signal(pids, signal.SIGCONT)
            time.sleep(AFTER_STALL_SECONDS)

    result = attack(URL, range(1000), RATE, MAX_SECONDS, during=stall, stop_early=True)
    record_measurement(f"all slots stalled for {STALL_SECONDS} s, {STALLS} times: {result}")
    assert_available(result)
