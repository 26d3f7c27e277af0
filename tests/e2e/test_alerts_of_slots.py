"""Alerts about failing and slow slots, restarts, and unreadable files: fired, mailed, resolved.

The simulated users send 20 requests a second, a fifth of them to the canary. A slow one gets fewer:
two workers that sleep 0.6 s for each of four a second would answer no scrape, and be down.
"""

import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, nullcontext

import pytest

from tests.support.alerts import Cause, check_alerts
from tests.support.docker import docker
from tests.support.faulty import faulty_canary
from tests.support.soak import soak_only
from tests.support.stack import Stack

pytestmark = [soak_only, pytest.mark.timeout(3500)]


@contextmanager
def restarting(demo: Stack, service: str) -> Iterator[None]:
    """Kill a service once a minute, as a fault at its start would; Docker does not start it."""
    for _ in range(5):
        container = demo.container(service)
        docker("kill", container)
        docker("start", container)
        time.sleep(60)
    yield


@contextmanager
def unreadable_segment(demo: Stack) -> Iterator[None]:
    """Put a file of a later format into the spool, which the shipper moves to its quarantine."""
    name = "0000000000000001-canary-1"
    in_canary = ("exec", "-T", "canary", "sh", "-c")
    demo.compose(
        *in_canary, f"echo later >/spool/.{name} && mv /spool/.{name} /spool/{name}.v9.segment"
    )
    try:
        yield
    finally:
        demo.compose("exec", "-T", "shipper", "rm", f"/spool/quarantine/{name}.v9.segment")


@contextmanager
def slow_canary(demo: Stack) -> Iterator[None]:
    """Deploy a canary that takes 0.6 s for each of 1.6 requests a second."""
    settings = demo.clone / ".env"
    usual = settings.read_text()
    assert "--rate 20" in usual
    settings.write_text(usual.replace("--rate 20", "--rate 8"))
    simulator = ("--profile", "demo", "up", "-d", "--no-deps", "simulator")
    demo.compose(*simulator)
    try:
        with faulty_canary(demo, "slow:0.6"):
            yield
    finally:
        settings.write_text(usual)
        demo.compose(*simulator)


#: Causes that are made at the same time: they do not hide each other.
GROUPS: dict[str, dict[str, Cause]] = {
    "failing, files and restarts": {
        "ProvenanceQuarantine": unreadable_segment,
        "RestartLoop": lambda demo: restarting(demo, "scheduler"),  # for five minutes
        "LowSuccessRatio": lambda demo: faulty_canary(demo, "errors:3"),
    },
    "slow": {
        "HighLatency": slow_canary,
        "UpstreamTimeouts": lambda _demo: nullcontext(),  # by the same cause
    },
}


@pytest.mark.parametrize("group", GROUPS)
def test_an_alert_fires_arrives_and_is_resolved(
    demo: Stack, group: str, record_measurement: Callable[[str], None]
) -> None:
    check_alerts(demo, GROUPS[group], record_measurement)
