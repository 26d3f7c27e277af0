"""NGINX sends 80 % of the requests to the stable slots and 20 % to the canary."""

import random
from collections.abc import Callable

from tests.support.load import assert_available, attack
from tests.support.stack import URL, Stack

REQUESTS = 1_000
RATE = 100


def test_80_percent_of_requests_go_to_stable_slots_in_equal_parts(
    stack: Stack, record_measurement: Callable[[str], None]
) -> None:
    users = random.Random(1).choices(range(1_000_000), k=REQUESTS)
    result = attack(URL, users, rate=RATE, seconds=REQUESTS / RATE)
    percent = {slot: 100 * count / result.sent for slot, count in result.slots.items()}
    record_measurement(
        f"split of {result.sent} requests: "
        + ", ".join(f"{slot} {share:.2f} %" for slot, share in sorted(percent.items()))
    )
    assert result.sent >= 0.9 * REQUESTS  # fewer than scheduled on a busy machine
    assert_available(result)
    assert abs(percent["stable-1"] + percent["stable-2"] - 80) <= 1
    assert abs(percent["stable-1"] - percent["stable-2"]) <= 2
