"""One stack for all tests here, built from a fresh clone; skipped where none can run."""

import shutil
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from xdist.workermanage import WorkerController

from tests.conftest import ROOT
from tests.support.docker import docker
from tests.support.releases import NotificationReceivers, Releases
from tests.support.stack import MAIL_SETTINGS, PROJECT, Stack, find_missing_engine, find_used_port
from tests.support.stream import RECENT_DAY

#: Measured values, printed at the end of the output.
MEASUREMENTS = pytest.StashKey[list[str]]()
#: Files whose tests take minutes.
LONG_FILES = {"test_backup.py", "test_demo_profile_and_alerts.py", "test_retraining.py"}
#: Services of the compose profile `demo`.
DEMO_SERVICES = ("simulator", "metadata-api", "kafka", "maildev")


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Run these tests last: first those without the stack, then those that leave it unchanged.

    The demo needs the stack's ports, and releases replace the version in its slots. This follows
    from the fixtures of a file's tests, not from its name. Files stay together: a process takes one
    after the other. The longest begin, so that all processes end at about the same time.
    """
    order: dict[Path, int] = {}
    for item in items:
        fixtures = getattr(item, "fixturenames", ())
        is_here = item.path.is_relative_to(Path(__file__).parent)
        group = 1 + ("stack" in fixtures) + ("shared_releases" in fixtures) if is_here else 0
        order[item.path] = max(group, order.get(item.path, 0))
    items.sort(key=lambda item: (order[item.path], item.path.name not in LONG_FILES))


@pytest.fixture(scope="session")
def record_measurement(pytestconfig: pytest.Config) -> Callable[[str], None]:
    """A function that adds a line to the measurements at the end of the output."""
    measurements: list[str] = pytestconfig.stash.setdefault(MEASUREMENTS, [])
    if hasattr(pytestconfig, "workeroutput"):  # sent to the main process when this one ends
        pytestconfig.workeroutput["measurements"] = measurements
    return measurements.append


@pytest.hookimpl(optionalhook=True)
def pytest_testnodedown(node: WorkerController) -> None:
    """Keep the measurements of a process that has ended."""
    measurements = getattr(node, "workeroutput", {}).get("measurements", [])
    node.config.stash.setdefault(MEASUREMENTS, []).extend(measurements)


def pytest_terminal_summary(
    terminalreporter: pytest.TerminalReporter, config: pytest.Config
) -> None:
    """Print the measurements."""
    if lines := config.stash.get(MEASUREMENTS, []):
        terminalreporter.section("measurements")
        terminalreporter.write("\n".join(lines) + "\n")


@pytest.fixture(scope="session")
def stack(
    tmp_path_factory: pytest.TempPathFactory, record_measurement: Callable[[str], None]
) -> Iterator[Stack]:
    """The stack, up and healthy."""
    if reason := find_missing_engine():
        pytest.skip(f"container tests: {reason}")
    clone = tmp_path_factory.mktemp("e2e") / "marquee"
    subprocess.run(["git", "clone", "--quiet", str(ROOT), str(clone)], check=True)
    stack = Stack(clone)
    stack.remove()  # what a killed run has left
    if reason := find_used_port():
        pytest.skip(f"container tests: {reason}")
    try:
        start = time.monotonic()
        stack.compose("up", "-d", "--wait", timeout=1500)
        seconds = time.monotonic() - start
        record_measurement(f"docker compose up -d --wait on a fresh clone: {seconds:.0f} s")
        yield stack
    finally:
        stack.save_logs()
        stack.remove()
    remaining = docker("ps", "-aq", "--filter", f"label=com.docker.compose.project={PROJECT}")
    for kind, filter_ in (
        ("volume", f"label=com.docker.compose.project={PROJECT}"),
        ("network", f"name={PROJECT}"),
    ):
        remaining += docker(kind, "ls", "-q", "--filter", filter_)
    assert remaining == "", "docker compose down -v left something behind"


@pytest.fixture(scope="module")
def demo(stack: Stack) -> Iterator[Stack]:
    """The stack with the profile `demo`, and an Alertmanager that sends mail to maildev."""
    stack.write_settings(
        {
            **MAIL_SETTINGS,
            "MARQUEE_KAFKA_SERVERS": "kafka:9092",
            "MARQUEE_SIMULATOR_OPTIONS": f"--rate 20 --speed 60 --start {RECENT_DAY}",
        }
    )
    stack.compose("--profile", "demo", "up", "-d", "--wait")
    stack.compose("restart", "alertmanager")
    yield stack
    (stack.clone / ".env").unlink()
    stack.compose("--profile", "demo", "rm", "--stop", "--force", *DEMO_SERVICES)
    stack.compose("up", "-d", "--wait")
    stack.compose("restart", "alertmanager")


@pytest.fixture(scope="session")
def shared_releases(stack: Stack, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Releases]:
    """Releases in the stack, with a scrape each second and receivers of notifications."""
    model = tmp_path_factory.mktemp("release") / "model"
    sample = ROOT / "data" / "sample"
    subprocess.run(
        [Path(sys.executable).with_name("marquee"), "train", "--out", model,
         "--ratings", sample / "ratings.parquet", "--watches", sample / "watches.parquet"],
        cwd=ROOT, check=True, capture_output=True,
    )  # fmt: skip
    configuration = stack.clone / "monitoring" / "prometheus" / "prometheus.yml"
    configuration.write_text(
        configuration.read_text().replace("scrape_interval: 5s", "scrape_interval: 1s", 1)
        .replace("scrape_timeout: 3s", "scrape_timeout: 1s", 1)
    )  # fmt: skip
    stack.compose("restart", "prometheus")
    receivers = NotificationReceivers()
    yield Releases(stack, model, receivers)
    receivers.close()
    log = stack.clone / "release.log"
    if log.exists():
        shutil.copy(log, ROOT / "build" / f"{PROJECT}-release.log")


@pytest.fixture
def releases(shared_releases: Releases) -> Iterator[Releases]:
    """Releases with the default settings, no fault in the next build, and no old notifications.

    None is in progress after the test, also where it has failed.
    """
    shared_releases.settings = {}
    shared_releases.remove_fault()
    shared_releases.read_notifications()
    yield shared_releases
    shared_releases.end()
