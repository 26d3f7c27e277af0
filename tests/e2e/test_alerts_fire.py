"""Each alert fires by its real cause, arrives by mail, and is resolved when the cause ends.

Those of the slots are in test_alerts_of_slots.py, of full disks in test_full_disks.py. Causes that
take longer than an hour, and those of releases, have series of the stack that are continued by
tests/support/recorded_alerts.py (test_demo_profile_and_alerts.py).
"""

from collections.abc import Callable, Iterator
from contextlib import contextmanager, nullcontext

import pytest

from tests.support.alerts import Cause, check_alerts, stopped
from tests.support.soak import soak_only
from tests.support.stack import Stack
from tests.support.stream import delete_lines, send_watches

TOPIC = "movielog"
pytestmark = [soak_only, pytest.mark.timeout(3500)]


@contextmanager
def deleted_messages(demo: Stack) -> Iterator[None]:
    """Delete messages of the topic while the collector is away."""
    with stopped(demo, "collector"):
        send_watches(TOPIC, 500)
        delete_lines(TOPIC)
    yield


@contextmanager
def undeliverable_message(demo: Stack) -> Iterator[None]:
    """Let a message wait for a channel that is removed from the settings."""

    def notify(smtp_host: str, *arguments: str) -> None:
        variable = f"MARQUEE_SMTP_HOST={smtp_host}"
        demo.compose("exec", "-T", "-e", variable, "scheduler", "marquee", "notify", *arguments)

    notify("127.0.0.1:9", "--subject", "waits")
    notify("", "--flush")
    try:
        yield
    finally:
        demo.compose("exec", "-T", "scheduler", "sh", "-c", "rm /workspace/outbox/*.undeliverable")


#: Causes that are made at the same time: they do not hide each other.
GROUPS: dict[str, dict[str, Cause]] = {
    "stopped": {
        "SlotDown": lambda demo: stopped(demo, "stable-2"),
        "ShipperDown": lambda demo: stopped(demo, "shipper"),
        "SchedulerDown": lambda demo: stopped(demo, "scheduler"),
        "MonitoringDown": lambda demo: stopped(demo, "cadvisor"),
        "CollectorDown": lambda demo: stopped(demo, "collector"),
        "FollowerDown": lambda demo: stopped(demo, "recent"),
        "RecentActivityStale": lambda _demo: nullcontext(),  # by the same cause
    },
    "servers": {
        "ProvenanceBacklog": lambda demo: stopped(demo, "mysql"),
        "KafkaDown": lambda demo: stopped(demo, "kafka"),
        "NotificationUndeliverable": undeliverable_message,
    },
    "lost": {"KafkaMessagesLost": deleted_messages},
    "edge": {"EdgeDown": lambda demo: stopped(demo, "nginx")},
}


@pytest.mark.parametrize("group", GROUPS)
def test_an_alert_fires_arrives_and_is_resolved(
    demo: Stack, group: str, record_measurement: Callable[[str], None]
) -> None:
    check_alerts(demo, GROUPS[group], record_measurement)
