"""Alerts of the stack: their causes, when they fire and resolve, and the mails about them."""

import json
import time
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import AbstractContextManager, ExitStack, contextmanager

import requests

from tests.support.stack import MAILDEV, Stack
from tests.support.waiting import eventually

Cause = Callable[[Stack], AbstractContextManager[None]]
_MAX_SECONDS_TO_FIRE = 1500
_MAX_SECONDS_TO_RESOLVE = 1500
#: Resolved an hour after its cause.
_LASTING = "KafkaMessagesLost"


@contextmanager
def stopped(demo: Stack, *services: str) -> Iterator[None]:
    """Stop services, and start them at the end."""
    demo.compose("stop", *services)
    try:
        yield
    finally:
        demo.compose("start", *services)


def mails_about(text: str) -> list[str]:
    """Return the mails that contain a text, as JSON."""
    mails = requests.get(f"{MAILDEV}/api/email", timeout=5).json()
    return [mail for mail in map(json.dumps, mails) if text in mail]


def measure(
    names: Iterable[str], is_reached: Callable[[str], bool], limit: float
) -> dict[str, float]:
    """Return after how many seconds each of the alerts has reached a state."""
    start = time.monotonic()
    seconds: dict[str, float] = {}

    def check() -> bool:
        for name in names:
            if name not in seconds and is_reached(name):
                seconds[name] = time.monotonic() - start
        return not set(names) - seconds.keys()

    eventually(check, limit, lambda: f"not reached: {set(names) - seconds.keys()}", 1)
    return seconds


def check_alerts(
    demo: Stack, causes: Mapping[str, Cause], record_measurement: Callable[[str], None]
) -> None:
    """Check that each alert fires by its cause, arrives by mail, and is resolved afterwards.

    Args:
        demo: the stack with a mail server.
        causes: by the names of the alerts; made one after the other, and ended together.
        record_measurement: gets a line about each alert.
    """
    eventually(
        lambda: not demo.firing_alerts() & causes.keys(), _MAX_SECONDS_TO_RESOLVE,
        demo.firing_alerts, 5,
    )  # fmt: skip
    before = {name: len(mails_about(name)) for name in causes}
    with ExitStack() as stack:
        for cause in causes.values():
            stack.enter_context(cause(demo))
        fired = measure(causes, lambda name: name in demo.firing_alerts(), _MAX_SECONDS_TO_FIRE)
        mailed = measure(causes, lambda name: len(mails_about(name)) > before[name], 600)
    ending = causes.keys() - {_LASTING}
    resolved = measure(
        ending, lambda name: name not in demo.firing_alerts(), _MAX_SECONDS_TO_RESOLVE
    )
    for name in causes:
        end = f"{resolved[name]:.0f} s after the end of its cause" if name in resolved else "later"
        record_measurement(
            f"{name}: fired after {fired[name]:.0f} s, mail {mailed[name]:.0f} s later, "
            f"resolved {end}"
        )
