"""The disk of Docker itself is full, and with it that of every volume.

The machine's engine is stopped, and another one started, whose data root is a small file system in
a file (a loop device).
"""

import os
import subprocess
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from threading import Event, Thread

import pytest

from tests.conftest import ROOT
from tests.support.alerts import mails_about, measure
from tests.support.delivered import Delivered, find_lost
from tests.support.docker import docker, start_docker, stop_docker
from tests.support.load import assert_available, attack
from tests.support.soak import soak_only
from tests.support.stack import MAIL_SETTINGS, URL, Stack, find_missing_engine
from tests.support.stream import send_watches, wait_until_collected
from tests.support.waiting import eventually

TOPIC = "full"
RATE = 200
#: The file system's; what images and volumes do not take is filled.
SIZE_GIB = 10
#: How long nothing is free.
FULL_SECONDS = 180
#: Not watched: two that end by themselves, and the broker, which is the operator's in production.
#: It stops for good when it cannot write.
OTHERS = ("init", "migrate", "kafka")

pytestmark = [
    soak_only,  # the stacks of other processes run in the engine that is stopped
    pytest.mark.skipif(
        os.environ.get("SYSTEM") != "1" or os.geteuid() != 0,
        reason="root stops the machine's Docker engine and starts another: SYSTEM=1",
    ),
    pytest.mark.timeout(2400),
]


class Filler:
    """Takes what is free of a file system, but for a share of it, and whatever becomes free."""

    def __init__(self, directory: Path) -> None:
        self._directory = directory
        self._path = directory / "filler"
        self.free_share = 1.0
        self._stop = Event()
        self._thread = Thread(target=self._run, daemon=True)
        self._thread.start()

    def _run(self) -> None:
        descriptor = os.open(self._path, os.O_CREAT | os.O_WRONLY)
        try:
            while not self._stop.wait(0.2):
                found, size = os.statvfs(self._directory), os.fstat(descriptor).st_size
                missing = int((found.f_bavail - self.free_share * found.f_blocks) * found.f_frsize)
                if missing > 0:
                    try:
                        os.posix_fallocate(descriptor, size, missing)
                    except OSError:  # another process was faster: a block at a time
                        continue
        finally:
            os.close(descriptor)

    def end(self) -> None:
        """Free what was taken."""
        self._stop.set()
        self._thread.join()
        self._path.unlink()


def read_images(stack: Stack) -> list[str]:
    """Build the images of the stack; return the tags of all that the compose file names."""
    stack.compose("--profile", "demo", "build", timeout=1500)
    tags = stack.compose("--profile", "demo", "config", "--images").split()
    return [tag for tag in dict.fromkeys(tags) if docker("image", "ls", "--quiet", tag)]


@contextmanager
def small_engine(directory: Path) -> Iterator[Path]:
    """Replace the engine by one on a small file system; return its mount point."""
    image, root = directory / "disk", directory / "docker"
    root.mkdir()
    with image.open("wb") as file:
        file.truncate(SIZE_GIB << 30)
    subprocess.run(["mkfs.ext4", "-q", "-m", "0", image], check=True, timeout=120)
    subprocess.run(["mount", "-o", "loop", image, root], check=True, timeout=60)
    stop_docker()
    log = (ROOT / "build" / "dockerd-small.log").open("w")
    engine = subprocess.Popen(
        ["dockerd", f"--data-root={root}"], stdout=log, stderr=log, start_new_session=True
    )
    try:
        eventually(lambda: find_missing_engine() is None, 60, find_missing_engine)
        yield root
    finally:
        engine.terminate()
        engine.wait(120)
        log.close()
        subprocess.run(["umount", "--lazy", root], check=True, timeout=60)
        image.unlink()
        start_docker()


@pytest.fixture(scope="module")
def stack_on_small_disk(
    tmp_path_factory: pytest.TempPathFactory,
) -> Iterator[tuple[Stack, Path]]:
    """The stack with Kafka and a mail server, in an engine on a small disk; its mount point."""
    if reason := find_missing_engine():
        pytest.skip(f"container tests: {reason}")
    directory = tmp_path_factory.mktemp("small")
    (ROOT / "build").mkdir(exist_ok=True)
    clone = directory / "marquee"
    subprocess.run(["git", "clone", "--quiet", str(ROOT), str(clone)], check=True)
    stack = Stack(clone)
    stack.remove()
    stack.write_settings(
        {**MAIL_SETTINGS, "MARQUEE_KAFKA_SERVERS": "kafka:9092", "MARQUEE_KAFKA_TOPIC": TOPIC}
    )
    archive = directory / "images.tar"
    docker("save", "--output", str(archive), *read_images(stack), timeout_seconds=900)
    stack.remove()
    with small_engine(directory) as root:
        docker("load", "--quiet", "--input", str(archive), timeout_seconds=900)
        archive.unlink()
        services = stack.compose("config", "--services").split()
        stack.compose(
            "--profile", "demo", "up", "-d", "--no-build", "--wait", *services, "kafka", "maildev",
            timeout=900,
        )  # fmt: skip
        try:
            yield stack, root
        finally:
            with suppress(AssertionError):  # Docker reads no log beyond a line that was cut
                stack.save_logs()
            stack.compose("--profile", "*", "down", "--volumes", "--timeout", "5")


def find_stopped(stack: Stack) -> dict[str, str]:
    """Return the services that should run and do not, or are not healthy, with their state."""
    return {
        name: f"{row['State']} {row['Health']}"
        for name, row in stack.services().items()
        if name not in OTHERS
        and (row["State"] != "running" or row["Health"] not in ("healthy", ""))
    }


def start_broker(stack: Stack) -> None:
    """Start the broker, which stops late because of the full disk, in a new container."""

    def starts() -> bool:
        try:
            stack.compose("rm", "--stop", "--force", "kafka")
            stack.compose("--profile", "demo", "up", "-d", "--no-build", "--wait", "kafka")
        except AssertionError:
            return False
        return True

    eventually(starts, 300, "the broker", 5)


def test_a_full_disk_of_docker_fails_no_request_and_is_announced(
    stack_on_small_disk: tuple[Stack, Path], record_measurement: Callable[[str], None]
) -> None:
    stack, root = stack_on_small_disk
    send_watches(TOPIC, 1000)
    wait_until_collected(TOPIC)
    filler = Filler(root)
    filler.free_share = 0.08
    mailed = measure(["DiskFilling"], lambda name: bool(mails_about(name)), 900)["DiskFilling"]
    record_measurement(f"Docker's disk with 8 % free: mail after {mailed:.0f} s")
    stopped: dict[str, str] = {}
    seconds: list[float] = []

    def fill() -> None:
        filler.free_share = 0.0
        eventually(lambda: os.statvfs(root).f_bavail == 0, 60, "a full disk")
        time.sleep(FULL_SECONDS)  # how long it lasts is the input
        stopped.update(find_stopped(stack))
        start = time.monotonic()
        filler.end()
        eventually(lambda: not find_stopped(stack), 600, lambda: f"{find_stopped(stack)}", 2)
        seconds.append(time.monotonic() - start)

    delivered = Delivered()
    result = attack(URL, range(5000), RATE, 1800, fill, delivered, stop_early=True)
    assert_available(result)
    stack.wait_for_scrape()
    dropped = stack.query_value("sum(marquee_provenance_records_dropped_total)")
    lost = find_lost(stack, delivered)
    assert len(lost) <= dropped
    start_broker(stack)
    send_watches(TOPIC, 1000)
    wait_until_collected(TOPIC)
    assert stack.read_store_statistics()["pairs"] == 2000
    record_measurement(
        f"Docker's disk full for {FULL_SECONDS} s: {len(delivered.responses)} requests, 0 failed, "
        f"{len(lost)} records lost, {dropped:.0f} counted; not running then: {stopped or 'none'}; "
        f"all running again after {seconds[0]:.0f} s"
    )
