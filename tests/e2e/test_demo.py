"""`make demo` on a fresh clone with its complete output, and `make demo-down`.

Runs before the other files start their stack, because both publish the same ports.
"""

import os
import subprocess
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest
import requests

from tests.conftest import ROOT
from tests.support.docker import docker
from tests.support.soak import soak_only
from tests.support.stack import URL, find_missing_engine, find_used_port

pytestmark = [soak_only, pytest.mark.timeout(1500)]
PROJECT = "marquee-demo"
#: Short durations, to keep the test short.
SETTINGS = {"DEMO_VISITS": "400", "DEMO_WINDOW": "30"}
EXPECTED_OUTPUT = (
    "from version 1 in ",
    "lost: 0",
    "one line to Kafka: user 900000001 watches ",
    "user 900000001, recent: ",
    "marquee trace: because of ",
    "version 2 passed the gate: RMSE 0.",
    "Data and Model version update: [2]",
    "analyzing: ",
    "promoting: ",
    "from version 2 in ",
    "version-1 -> version-2: ",
    "version 2's 0.",  # the gate of version 3 compares
    "aborted: guard in minute ",
    "the stable slots are unchanged; requests failed during the release: 0",
    "Successfully deployed new model: version 2",
    "Release of version 3 aborted: guard in minute ",
    "make demo-down removes everything",
)


@dataclass
class Demo:
    """A finished demo whose stack is running."""

    clone: Path
    output: str
    seconds: float


@pytest.fixture(scope="module")
def demo(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Demo]:
    """Run `make demo` on a fresh clone; `make demo-down` must remove everything."""
    if reason := find_missing_engine() or find_used_port():
        pytest.skip(f"the demo: {reason}")
    clone = tmp_path_factory.mktemp("demo") / "marquee"
    subprocess.run(["git", "clone", "--quiet", str(ROOT), str(clone)], check=True)
    try:
        start = time.monotonic()
        done = run_make(clone, "demo")
        assert done.returncode == 0, done.stdout + done.stderr
        yield Demo(clone, done.stdout, time.monotonic() - start)
    finally:
        save_log(clone)
        remove_demo(clone)


def save_log(clone: Path) -> None:
    log = clone / "build" / "demo" / "demo.log"
    if log.exists():
        (ROOT / "build").mkdir(exist_ok=True)
        (ROOT / "build" / "demo.log").write_bytes(log.read_bytes())


def remove_demo(clone: Path) -> None:
    done = run_make(clone, "demo-down")
    assert done.returncode == 0, done.stderr
    label = ("--filter", f"label=com.docker.compose.project={PROJECT}")
    for command in (("ps", "--all"), ("volume", "ls"), ("network", "ls")):
        assert docker(*command, "--quiet", *label) == ""
    assert docker("image", "ls", "--quiet", PROJECT) == ""
    assert not (clone / "build" / "demo").exists()


def run_make(clone: Path, target: str) -> subprocess.CompletedProcess[str]:
    """Run a target in a fresh environment and without a terminal."""
    environment = {
        name: value
        for name, value in os.environ.items()
        if not name.startswith(("MAKE", "MARQUEE_"))  # of other tests (isolated_provenance)
    } | SETTINGS
    if "SSL_CERT_FILE" in environment:
        environment["MARQUEE_BUILD_CA"] = environment["SSL_CERT_FILE"]
    return subprocess.run(
        ["make", target], cwd=clone, env=environment, stdin=subprocess.DEVNULL,
        capture_output=True, text=True, timeout=1400, check=False,
    )  # fmt: skip


def test_demo_promotes_version_2_and_aborts_version_3(
    demo: Demo, record_measurement: Callable[[str], None]
) -> None:
    remaining = demo.output
    for text in EXPECTED_OUTPUT:
        assert text in remaining, f"{text!r} is missing or in another place: {demo.output}"
        remaining = remaining[remaining.index(text) + len(text) :]
    last = next(line for line in demo.output.splitlines() if line.startswith("==> done"))
    record_measurement(f"make demo, short: {demo.seconds:.0f} s ({last.removeprefix('==> ')})")
    for _ in range(10):
        response = requests.get(f"{URL}/recommend/42", timeout=2)
        assert response.headers["X-Model-Version"] == "2"


def test_the_aborted_image_of_the_demo_has_no_tag(demo: Demo) -> None:
    tags = docker("image", "ls", "--format", "{{.Tag}}", PROJECT).split()
    assert any(tag.startswith("2-") for tag in tags)
    assert not any(tag.startswith("3-") for tag in tags)


def test_the_demo_changes_no_file_of_the_clone(demo: Demo) -> None:
    status = ["git", "status", "--porcelain"]
    assert subprocess.run(status, cwd=demo.clone, capture_output=True, check=True).stdout == b""


def test_second_demo_is_refused(demo: Demo) -> None:
    done = run_make(demo.clone, "demo")
    assert done.returncode != 0
    assert "a demo is running" in done.stderr
    assert requests.get(f"{URL}/recommend/42", timeout=2).ok
