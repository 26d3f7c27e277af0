"""One stack for the whole suite, from a fresh clone; skipped with its reason where none can run."""

import shutil
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from tests.conftest import ROOT
from tests.support.releases import Receivers, Releases
from tests.support.stack import PROJECT, Stack, docker


def why_not() -> str | None:
    """Why the suite cannot run here; None where it can."""
    if shutil.which("docker") is None:
        return "there is no docker command"
    if subprocess.run(["docker", "info"], capture_output=True, check=False).returncode != 0:
        return "no Docker engine answers (make test SYSTEM=1 installs and starts one)"
    for port in (8082, 8083, 9090, 9093):
        with socket.socket() as probe:
            probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            try:
                probe.bind(("127.0.0.1", port))
            except OSError:
                return f"port {port} of 127.0.0.1 is in use"
    return None


@pytest.fixture(scope="session")
def figures() -> Iterator[Callable[[str], None]]:
    """Says a measured figure; all stand at the end of the suite's output."""
    said: list[str] = []
    yield said.append
    (ROOT / "build").mkdir(exist_ok=True)
    (ROOT / "build" / "figures.txt").write_text("\n".join(said) + "\n")


@pytest.fixture(scope="session")
def stack(
    tmp_path_factory: pytest.TempPathFactory, figures: Callable[[str], None]
) -> Iterator[Stack]:
    """The stack, up and healthy."""
    if reason := why_not():
        pytest.skip(f"the container suite: {reason}")
    clone = tmp_path_factory.mktemp("e2e") / "marquee"
    subprocess.run(["git", "clone", "--quiet", str(ROOT), str(clone)], check=True)
    running = Stack(clone)
    remove(running)
    try:
        start = time.monotonic()
        running.compose("up", "-d", "--wait", timeout=1500)
        figures(f"docker compose up -d --wait on a fresh clone: {time.monotonic() - start:.0f} s")
        yield running
    finally:
        save_logs(running)
        remove(running)
    left = docker("ps", "-aq", "--filter", f"label=com.docker.compose.project={PROJECT}")
    left += docker("volume", "ls", "-q", "--filter", f"label=com.docker.compose.project={PROJECT}")
    left += docker("network", "ls", "-q", "--filter", f"name={PROJECT}")
    assert left == "", "docker compose down -v left something behind"


@pytest.fixture(scope="session")
def shared_releases(stack: Stack, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Releases]:
    """The stack with slots scraped each second, a model, and receivers of messages."""
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
    receivers = Receivers()
    yield Releases(stack, model, receivers)
    receivers.close()
    log = stack.clone / "release.log"
    if log.exists():
        shutil.copy(log, ROOT / "build" / "release.log")


@pytest.fixture
def releases(shared_releases: Releases) -> Releases:
    """The release script with the suite's settings, and no fault in its next build."""
    shared_releases.settings = {}
    shared_releases.fault("")
    shared_releases.told()
    return shared_releases


def save_logs(stack: Stack) -> None:
    """Keep the containers' logs for whoever reads a failure."""
    (ROOT / "build").mkdir(exist_ok=True)
    (ROOT / "build" / "e2e.log").write_text(stack.compose("logs", "--no-color", "--timestamps"))


def remove(stack: Stack) -> None:
    """Take the project down: volumes, and images, which would be those of an earlier commit."""
    stack.compose("--profile", "*", "down", "--volumes", "--timeout", "5")
    for name in (PROJECT, f"{PROJECT}-base", f"{PROJECT}-candidate"):
        images = docker("image", "ls", "--quiet", name).split()
        if images:
            docker("image", "rm", "--force", *images)


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter) -> None:
    """Print the figures where a person sees them."""
    path = Path(ROOT / "build" / "figures.txt")
    if path.exists():
        terminalreporter.section("figures")
        terminalreporter.write(path.read_text())
        path.unlink()
