"""Each alert fires by its real cause, arrives by mail, and is resolved when the cause ends.

Causes that cannot be made in the stack within an hour have synthetic series in
monitoring/prometheus/tests.
"""

import itertools
import json
import time
from collections.abc import Callable, Iterable, Iterator
from contextlib import AbstractContextManager, ExitStack, contextmanager, nullcontext

import pytest
import requests

from tests.support.docker import docker
from tests.support.soak import soak_only
from tests.support.stack import Stack
from tests.support.stream import send_lines
from tests.support.waiting import eventually

MAILDEV = "http://127.0.0.1:1080"
TOPIC = "movielog"
pytestmark = [soak_only, pytest.mark.timeout(3500)]

_unused_user_ids = itertools.count(2 * 10**9)
_MAX_SECONDS_TO_FIRE = 1200
_MAX_SECONDS_TO_RESOLVE = 1500


def send_watches(n_users: int) -> None:
    line = "2022-11-14T12:24,{},GET /data/m/whiplash+2014/42.mpg"
    send_lines(TOPIC, (line.format(user) for user in itertools.islice(_unused_user_ids, n_users)))


@contextmanager
def stopped(demo: Stack, *services: str) -> Iterator[None]:
    demo.compose("stop", *services)
    try:
        yield
    finally:
        demo.compose("start", *services)


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
def deleted_messages(demo: Stack) -> Iterator[None]:
    """Delete messages of the topic while the collector is away."""
    with stopped(demo, "collector"):
        send_watches(500)
        script = (
            'echo \'{"partitions": [{"topic": "movielog", "partition": 0, "offset": -1}], '
            '"version": 1}\' > /tmp/offsets.json; /opt/kafka/bin/kafka-delete-records.sh '
            "--bootstrap-server kafka:9092 --offset-json-file /tmp/offsets.json"
        )
        demo.compose("exec", "-T", "kafka", "bash", "-c", script)
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
GROUPS: dict[str, dict[str, Callable[[Stack], AbstractContextManager[None]]]] = {
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
    "restarts": {"RestartLoop": lambda demo: restarting(demo, "shipper")},
    "edge": {"EdgeDown": lambda demo: stopped(demo, "nginx")},
}


def mails_about(name: str) -> list[str]:
    mails = requests.get(f"{MAILDEV}/api/email", timeout=5).json()
    return [text for mail in mails if name in (text := json.dumps(mail))]


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


@pytest.mark.parametrize("group", GROUPS)
def test_an_alert_fires_arrives_and_is_resolved(
    demo: Stack, group: str, record_measurement: Callable[[str], None]
) -> None:
    causes = GROUPS[group]
    eventually(
        lambda: not demo.firing_alerts() & causes.keys(), _MAX_SECONDS_TO_RESOLVE,
        demo.firing_alerts, 5,
    )  # fmt: skip
    before = {name: len(mails_about(name)) for name in causes}
    with ExitStack() as stack:
        for cause in causes.values():
            stack.enter_context(cause(demo))
        fired = measure(causes, lambda name: name in demo.firing_alerts(), _MAX_SECONDS_TO_FIRE)
        mailed = measure(causes, lambda name: len(mails_about(name)) > before[name], 300)
    if group == "lost":  # the alert lasts for an hour
        resolved = {"KafkaMessagesLost": float("nan")}
    else:
        resolved = measure(
            causes, lambda name: name not in demo.firing_alerts(), _MAX_SECONDS_TO_RESOLVE
        )
    for name in causes:
        record_measurement(
            f"{name} ({group}): fired after {fired[name]:.0f} s, mail {mailed[name]:.0f} s later, "
            f"resolved {resolved[name]:.0f} s after the end of its cause"
        )
