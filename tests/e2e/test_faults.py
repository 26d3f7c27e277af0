"""Each part of the stack is killed or cut off under load, until its alert fires.

No request fails and no record of a response is lost, whichever part it is.
"""

import time
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager
from dataclasses import dataclass

import pytest

from tests.support.campaign.faults import KILL_WORKER
from tests.support.delivered import Delivered, compare
from tests.support.docker import docker
from tests.support.load import assert_available, attack
from tests.support.shipper import count_spooled_records, wait_until_shipped
from tests.support.soak import soak_only
from tests.support.stack import PROJECT, SLOTS, URL, Stack
from tests.support.waiting import eventually

RATE = 200
MAX_SECONDS = 1500
#: How long a fault lasts that no alert is expected for.
FAULT_SECONDS = 60
#: The longest is that of ProvenanceBacklog: a record of five minutes, for one minute.
MAX_SECONDS_TO_FIRE = 900


pytestmark = [soak_only, pytest.mark.timeout(1800)]


@contextmanager
def killed(stack: Stack, service: str) -> Iterator[None]:
    """Kill a service; Docker does not start it again."""
    container = stack.container(service)
    docker("kill", container)
    try:
        yield
    finally:
        docker("start", container)


@contextmanager
def worker_killed(stack: Stack, slot: str) -> Iterator[None]:
    """Kill one process of gunicorn, which starts another."""
    stack.compose("exec", "-T", slot, "python", "-c", KILL_WORKER)
    yield


@contextmanager
def cut_off(stack: Stack, slot: str) -> Iterator[None]:
    """Disconnect a slot, which continues to run, from the network that NGINX reaches it by."""
    container = stack.container(slot)
    network = f"{PROJECT}_application"
    docker("network", "disconnect", network, container)
    try:
        yield
    finally:
        docker("network", "connect", "--alias", slot, network, container)


@dataclass(frozen=True)
class Fault:
    """A fault of one part of the stack.

    Attributes:
        cause: its beginning and its end.
        service: the part.
        alert: fires while it lasts; empty: none is expected.
    """

    cause: Callable[[Stack, str], AbstractContextManager[None]]
    service: str
    alert: str = ""


FAULTS = {
    "worker": Fault(worker_killed, "stable-1"),
    "stable": Fault(killed, "stable-1", "SlotDown"),
    "canary": Fault(killed, "canary", "SlotDown"),
    "network": Fault(cut_off, "stable-2", "SlotDown"),
    "shipper": Fault(killed, "shipper", "ShipperDown"),
    "database": Fault(killed, "mysql", "ProvenanceBacklog"),
    "prometheus": Fault(killed, "prometheus"),
}


def wait_until_recovered(stack: Stack) -> None:
    for slot in SLOTS:
        stack.wait_until_serving(slot)
    eventually(stack.accepts_statements, 120, "the database", 0.5)
    eventually(lambda: count_spooled_records() < 10 * RATE, 600, count_spooled_records, 1)
    eventually(stack.has_new_samples, 120, "samples in Prometheus", 1)


@pytest.mark.parametrize("name", FAULTS)
def test_no_request_fails_and_no_record_is_lost(
    stack: Stack, name: str, record_measurement: Callable[[str], None]
) -> None:
    fault = FAULTS[name]
    # An alert of the fault before must have ended.
    eventually(lambda: fault.alert not in stack.firing_alerts(), 900, stack.firing_alerts, 5)
    wait_until_shipped()
    stack.sql("truncate reccom")
    fired: dict[str, float] = {}

    def observe_alerts(start: float) -> bool:
        seconds = time.monotonic() - start
        for alert in stack.firing_alerts():
            fired.setdefault(alert, seconds)
        return fault.alert in fired if fault.alert else seconds > FAULT_SECONDS

    def break_and_repair() -> None:
        stack.wait_until_serving("canary")
        with fault.cause(stack, fault.service):
            start = time.monotonic()
            eventually(lambda: observe_alerts(start), MAX_SECONDS_TO_FIRE, lambda: str(fired), 1)
        wait_until_recovered(stack)

    delivered = Delivered()
    result = attack(
        URL, range(5000), RATE, MAX_SECONDS, break_and_repair, delivered, stop_early=True
    )
    alerts = ", ".join(f"{alert} after {seconds:.0f} s" for alert, seconds in fired.items())
    record_measurement(
        f"{name} ({fault.service}) at {RATE}/s: {result}; {compare(stack, delivered)}; "
        f"alerts: {alerts or 'none'}"
    )
    assert_available(result)
