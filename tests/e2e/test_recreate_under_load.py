"""What an operator does to a running stack costs no request."""

import os
import time
from collections.abc import Callable

from tests.support.load import attack
from tests.support.stack import SLOTS, URL, Stack

#: `make soak` sets these to the full figures.
RATE = 200
SECONDS = int(os.environ.get("MARQUEE_SOAK_SECONDS", "75"))


def test_no_request_fails_while_parts_are_replaced(
    stack: Stack, figures: Callable[[str], None]
) -> None:
    def disturb() -> None:
        end = time.monotonic() + SECONDS - 45
        while True:
            time.sleep(2)
            for slot in SLOTS:
                stack.replace(slot)
            stack.compose("rm", "--stop", "--force", "canary")
            time.sleep(3)
            stack.compose("up", "-d", "--no-deps", "--wait", "canary")
            stack.compose("exec", "-T", "nginx", "nginx", "-t")
            stack.compose("exec", "-T", "nginx", "nginx", "-s", "reload")
            if time.monotonic() > end:
                return

    result = attack(URL, range(5000), RATE, SECONDS, during=disturb)
    figures(f"slots recreated, canary removed and back, NGINX reloaded, {RATE}/s: {result}")
    assert result.sent >= RATE * SECONDS
    assert result.failed == 0, result
