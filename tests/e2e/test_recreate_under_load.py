"""Recreating slots and reloading NGINX under load fails no request."""

import time
from collections.abc import Callable

from tests.support.load import attack
from tests.support.soak import IS_SOAK
from tests.support.stack import SLOTS, URL, Stack

RATE = 200
SECONDS = 180 if IS_SOAK else 75
#: One round of `recreate_everything` takes less.
ROUND_SECONDS = 45


def test_no_request_fails_while_slots_are_recreated_and_nginx_reloads(
    stack: Stack, record_measurement: Callable[[str], None]
) -> None:
    def recreate_everything() -> None:
        end = time.monotonic() + SECONDS - ROUND_SECONDS
        while True:
            time.sleep(2)
            for slot in SLOTS:
                stack.recreate(slot)
            stack.compose("rm", "--stop", "--force", "canary")
            time.sleep(3)
            stack.compose("up", "-d", "--no-deps", "--wait", "canary")
            stack.compose("exec", "-T", "nginx", "nginx", "-t")
            stack.compose("exec", "-T", "nginx", "nginx", "-s", "reload")
            if time.monotonic() > end:
                return

    result = attack(URL, range(5000), RATE, SECONDS, during=recreate_everything)
    record_measurement(
        f"slots recreated, canary removed and started, NGINX reloaded at {RATE}/s: {result}"
    )
    assert result.sent >= RATE * SECONDS
    assert result.failed == 0, result
