"""Recreating slots and reloading NGINX under load fails no request."""

import time
from collections.abc import Callable

from tests.support.docker import docker
from tests.support.load import assert_available, attack
from tests.support.soak import IS_SOAK
from tests.support.stack import SLOTS, URL, Stack
from tests.support.waiting import eventually

RATE = 100
#: The recreations are repeated for this long.
MIN_SECONDS = 180 if IS_SOAK else 0
MAX_SECONDS = 280


def recreate_everything(stack: Stack) -> None:
    for slot in SLOTS:
        stack.recreate(slot)
        stack.wait_until_serving(slot)
    stack.compose("rm", "--stop", "--force", "canary")
    stack.compose("up", "-d", "--no-deps", "canary")
    stack.wait_until_serving("canary")
    workers = find_nginx_workers(stack)
    stack.compose("exec", "-T", "nginx", "nginx", "-t")
    stack.compose("exec", "-T", "nginx", "nginx", "-s", "reload")
    eventually(
        lambda: find_nginx_workers(stack).isdisjoint(workers), 60, "the end of the old workers"
    )


def find_nginx_workers(stack: Stack) -> set[str]:
    """Return the process ids of NGINX's workers, without the master and what watches its files."""
    rows = docker("top", stack.container("nginx"), "-o", "pid,args").splitlines()[1:]
    return {row.split()[0] for row in rows if "worker process" in row}


def test_no_request_fails_while_slots_are_recreated_and_nginx_reloads(
    stack: Stack, record_measurement: Callable[[str], None]
) -> None:
    def during() -> None:
        end = time.monotonic() + MIN_SECONDS
        recreate_everything(stack)
        while time.monotonic() < end:
            recreate_everything(stack)

    result = attack(URL, range(5000), RATE, MAX_SECONDS, during, stop_early=True)
    record_measurement(
        f"slots recreated, canary removed and started, NGINX reloaded at {RATE}/s: {result}"
    )
    assert set(result.slots) == set(SLOTS)
    assert_available(result)
