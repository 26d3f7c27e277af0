"""80/20 over named slots."""

import random
from collections.abc import Callable

from tests.support.load import attack
from tests.support.stack import URL, Stack

REQUESTS = 10_000


def test_the_split_is_80_to_20(stack: Stack, figures: Callable[[str], None]) -> None:
    users = random.Random(1).choices(range(1_000_000), k=REQUESTS)
    result = attack(URL, users, rate=500, seconds=REQUESTS / 500 + 0.1)
    shares = {slot: 100 * count / result.sent for slot, count in result.slots.items()}
    figures(
        f"split over {result.sent} requests: "
        + ", ".join(f"{slot} {share:.2f} %" for slot, share in sorted(shares.items()))
    )
    assert result.sent >= REQUESTS
    assert result.failed == 0, result
    assert abs(shares["stable-1"] + shares["stable-2"] - 80) <= 1
    assert abs(shares["stable-1"] - shares["stable-2"]) <= 2
