"""The volumes are small file systems, which are filled one by one.

Each is a tmpfs of Docker's local volume driver, set in docker-compose.override.yml: what fills one
takes memory of the host up to its size, and not its disk. A volume keeps its content as long as one
container that mounts it is running. The disk of a release (`data/release`) is filled
in test_interrupted_release.py, the workspace while a version is built in
tests/unit/auto_deployment/test_auto_deploy.py.
"""

import json
import subprocess
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager

import pytest

from tests.support.alerts import mails_about, measure
from tests.support.delivered import Delivered, compare, find_lost
from tests.support.docker import docker
from tests.support.load import assert_available, attack
from tests.support.shipper import count_spooled_records
from tests.support.soak import soak_only
from tests.support.stack import MAIL_SETTINGS, PROJECT, URL, Stack
from tests.support.stream import send_watches, wait_until_collected
from tests.support.waiting import eventually

TOPIC = "disks"
RATE = 200
MAX_SECONDS = 1200
#: Size in MiB, and the user whose processes write there. MariaDB's files have 200 MiB at first;
#: Prometheus allocates 128 MiB for its first chunks.
VOLUMES = {
    "spool": (64, 10001),
    "store": (64, 10001),
    "workspace": (64, 10001),
    "database": (448, 999),
    "prometheus": (320, 65534),
}
#: Extends a file by what is free, but for a share of the volume, until the container is removed.
FILL = """
import os, time
filler = os.open("/volume/filler", os.O_CREAT | os.O_WRONLY)
while True:
    found = os.statvfs("/volume")
    size = os.fstat(filler).st_size
    missing = int((found.f_bavail - {share} * found.f_blocks) * found.f_frsize)
    if missing > 0:
        try:
            os.posix_fallocate(filler, size, missing)
        except OSError:
            pass  # another process was faster
    time.sleep(0.2)
"""
pytestmark = [soak_only, pytest.mark.timeout(2400)]


def start_filling(volume: str, share: float) -> None:
    """Fill a volume except for a share (0 to 1), and again whatever becomes free."""
    docker(
        "run", "--detach", f"--name={PROJECT}-filler-{volume}", f"--user={VOLUMES[volume][1]}",
        f"--volume={PROJECT}_{volume}:/volume", "--network=none", "--entrypoint=python",
        f"{PROJECT}:deployment", "-c", FILL.format(share=share),
    )  # fmt: skip


def stop_filling(volume: str, *, empty: bool) -> None:
    docker("rm", "--force", f"{PROJECT}-filler-{volume}")
    if empty:
        docker(
            "run", "--rm", "--user=0", f"--volume={PROJECT}_{volume}:/volume", "--network=none",
            "--entrypoint=rm", f"{PROJECT}:deployment", "-f", "/volume/filler",
        )  # fmt: skip


@contextmanager
def full(volume: str) -> Iterator[None]:
    """Fill a volume to its last byte; at the end nothing is left of what filled it."""
    stop_filling(volume, empty=False)
    start_filling(volume, 0)
    try:
        yield
    finally:
        stop_filling(volume, empty=True)


@pytest.fixture(scope="module")
def small_disks(stack: Stack) -> Iterator[Stack]:
    """The stack with Kafka and a mail server; the store is full, 8 % of the others are free."""
    override = stack.clone / "docker-compose.override.yml"
    assert not override.exists()
    options = {
        name: {"type": "tmpfs", "device": "tmpfs", "o": f"size={size}m,uid={user},gid={user}"}
        for name, (size, user) in VOLUMES.items()
    }
    volumes = {name: {"driver_opts": found} for name, found in options.items()}
    stack.compose("down", "--volumes", "--timeout", "5")
    override.write_text(json.dumps({"volumes": volumes}))
    stack.write_settings(
        {**MAIL_SETTINGS, "MARQUEE_KAFKA_SERVERS": "kafka:9092", "MARQUEE_KAFKA_TOPIC": TOPIC}
    )
    services = stack.compose("config", "--services").split()
    try:
        stack.compose("--profile", "demo", "up", "-d", "--wait", *services, "kafka", "maildev")
        send_watches(TOPIC, 100)
        wait_until_collected(TOPIC)
        for volume in VOLUMES:
            start_filling(volume, 0 if volume == "store" else 0.08)
        yield stack
    finally:
        for volume in VOLUMES:
            remove = ["docker", "rm", "--force", f"{PROJECT}-filler-{volume}"]
            subprocess.run(remove, capture_output=True, check=False)
        stack.save_logs()
        stack.compose("--profile", "demo", "down", "--volumes", "--timeout", "5")
        override.unlink()
        (stack.clone / ".env").unlink()
        stack.compose("up", "-d", "--wait", timeout=1500)


@pytest.fixture(autouse=True)
def empty_table(small_disks: Stack) -> None:
    """Delete the records of earlier tests."""
    eventually(lambda: count_spooled_records() == 0, 300, "an empty spool", 1)
    small_disks.sql("truncate reccom")


def run_under_load(during: Callable[[], object]) -> Delivered:
    """Run something at 200 requests a second, of which none may fail."""
    delivered = Delivered()
    result = attack(URL, range(5000), RATE, MAX_SECONDS, during, delivered, stop_early=True)
    assert_available(result)
    return delivered


def wait_until_resolved(stack: Stack, alert: str) -> float:
    """Return after how many seconds the alert does not fire any more."""
    return measure([alert], lambda name: name not in stack.firing_alerts(), 900)[alert]


def test_alerts_by_mail_name_the_full_disks_and_the_store_loses_no_line(
    small_disks: Stack, record_measurement: Callable[[str], None]
) -> None:
    stack = small_disks
    expected = {f"DiskFilling {name}": f"the disk of the volume {name} " for name in VOLUMES}
    expected["CollectorNotCommitting"] = "the last commit to the store was"
    with full("store"):
        send_watches(TOPIC, 50_000)
        logs = ("logs", "--no-color", "collector")
        eventually(
            lambda: "No space left" in stack.compose(*logs), 300, "a log line of the collector", 2
        )
        mailed = measure(expected, lambda name: bool(mails_about(expected[name])), 1500)
    seconds_to_resolve = wait_until_resolved(stack, "CollectorNotCommitting")
    wait_until_collected(TOPIC, 600)
    assert stack.read_store_statistics()["pairs"] == 50_100
    for name, seconds in mailed.items():
        record_measurement(f"full disks: mail about {name} after {seconds:.0f} s")
    record_measurement(f"full store: resolved after {seconds_to_resolve:.0f} s")


def test_a_full_spool_drops_and_counts_records_and_fails_no_request(
    small_disks: Stack, record_measurement: Callable[[str], None]
) -> None:
    """A slot that starts has no segment yet; those of the others are allocated for minutes."""
    stack = small_disks
    dropped = 'sum(marquee_provenance_records_dropped_total{reason="write_failed"})'

    def fill() -> None:
        with full("spool"):
            stack.recreate("canary")
            stack.wait_until_serving("canary")
            eventually(
                lambda: "ProvenanceRecordsDropped" in stack.firing_alerts(), 600,
                stack.firing_alerts, 1,
            )  # fmt: skip
        text = "provenance records (write_failed)"
        eventually(lambda: bool(mails_about(text)), 600, "the mail about dropped records", 1)

    delivered = run_under_load(fill)
    stack.wait_for_scrape()
    lost, counted = find_lost(stack, delivered), stack.query_value(dropped)
    assert 0 < len(lost) <= counted
    stack.sql("truncate reccom")
    after = run_under_load(lambda: stack.wait_until_serving("canary"))
    record_measurement(
        f"full spool: {len(lost)} records lost, {counted:.0f} counted, ProvenanceRecordsDropped "
        f"by mail; afterwards {compare(stack, after)}"
    )
    seconds = wait_until_resolved(stack, "ProvenanceRecordsDropped")
    record_measurement(f"full spool: resolved {seconds:.0f} s later")


def test_a_full_workspace_sends_notifications_without_an_outbox(small_disks: Stack) -> None:
    stack = small_disks
    command = ("exec", "-T", "scheduler", "marquee", "notify", "--subject")
    with full("workspace"):
        stack.compose(*command, "sent on a full disk")
        eventually(lambda: mails_about("sent on a full disk"), 60, "the mail", 1)
        stack.compose("stop", "maildev")
        try:
            with pytest.raises(AssertionError, match="neither delivered"):
                stack.compose(*command, "neither sent nor saved")
        finally:
            stack.compose("--profile", "demo", "up", "-d", "--wait", "maildev")
        assert stack.services()["scheduler"]["Health"] == "healthy"
    assert "1 delivered" in stack.compose(*command, "sent afterwards")


def test_a_full_database_stores_records_later_and_loses_none(
    small_disks: Stack, record_measurement: Callable[[str], None]
) -> None:
    stack = small_disks
    fired: set[str] = set()

    def fill() -> None:
        with full("database"):
            eventually(lambda: count_spooled_records() > 20 * RATE, 900, "a backlog", 1)
            fired.update(stack.firing_alerts())
        eventually(lambda: count_spooled_records() < 10 * RATE, 600, count_spooled_records, 1)

    delivered = run_under_load(fill)
    record_measurement(f"full database: {compare(stack, delivered)}; alerts: {sorted(fired)}")


def test_a_full_disk_of_prometheus_stops_only_the_metrics(
    small_disks: Stack, record_measurement: Callable[[str], None]
) -> None:
    stack = small_disks
    seconds: list[float] = []

    def fill() -> None:
        start = time.monotonic()
        with full("prometheus"):
            eventually(lambda: not stack.has_new_samples(), 600, "no new samples", 1)
            seconds.append(time.monotonic() - start)
        start = time.monotonic()
        eventually(stack.has_new_samples, 300, "samples in Prometheus", 1)
        seconds.append(time.monotonic() - start)

    delivered = run_under_load(fill)
    record_measurement(
        f"full disk of Prometheus: no samples after {seconds[0]:.0f} s, again {seconds[1]:.0f} s "
        f"after its end; {compare(stack, delivered)}"
    )


def test_the_alert_about_disks_is_resolved_when_space_is_free(
    small_disks: Stack, record_measurement: Callable[[str], None]
) -> None:
    stack = small_disks
    alerts = stack.firing_alerts
    eventually(lambda: "DiskFilling" in alerts(), 900, alerts, 1)
    for volume in VOLUMES:
        stop_filling(volume, empty=True)
    try:
        seconds = wait_until_resolved(stack, "DiskFilling")
    finally:
        for volume in VOLUMES:
            start_filling(volume, 0 if volume == "store" else 0.08)
    record_measurement(f"full disks: DiskFilling resolved after {seconds:.0f} s")
