"""Wait for events."""

import time
from collections.abc import Callable


def eventually(
    check: Callable[[], object],
    timeout_seconds: float,
    what: str | Callable[[], object] = "",
    interval_seconds: float = 0.05,
) -> None:
    """Wait until `check` returns something true.

    Args:
        check: called at the interval.
        timeout_seconds: a generous limit, after which the test fails.
        what: what is awaited, or a function that returns more about it at the end.
        interval_seconds: pause between two calls; longer for a check that costs more.
    """
    deadline = time.monotonic() + timeout_seconds
    while not check():
        if time.monotonic() > deadline:
            description = what() if callable(what) else what
            raise AssertionError(f"not within {timeout_seconds} s: {description}")
        time.sleep(interval_seconds)
