"""`make demo` on a fresh clone with its complete output, and `make demo-down`.

Runs before the other files start their stack, because both publish the same ports.
"""

import os
import subprocess
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
import requests

from tests.conftest import ROOT
from tests.support.stack import URL, docker, find_missing_requirement

PROJECT = "marquee-demo"
#: Short durations, to keep the test short.
SETTINGS = {"DEMO_VISITS": "400", "DEMO_WINDOW": "30"}
EXPECTED_OUTPUT = (
    "from version 1 in ",
    "lost: 0",
    "version 2 passed the gate: RMSE 0.",
    "Data and Model version update: [2]",
    "analyzing: ",
    "promoting: ",
    "from version 2 in ",
    "version-1 -> version-2: ",
    "version 2's 0.",  # the gate of version 3 compares
    "aborted: guard: timeout_ratio is 1",
    "the stable slots are unchanged; requests failed during the release: 0",
    "Successfully deployed new model: version 2",
    "Release of version 3 aborted: guard: timeout_ratio is 1",
    "make demo-down removes everything",
)


@pytest.fixture(scope="module")
def clone(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    if reason := find_missing_requirement():
        pytest.skip(f"the demo: {reason}")
    directory = tmp_path_factory.mktemp("demo") / "marquee"
    subprocess.run(["git", "clone", "--quiet", str(ROOT), str(directory)], check=True)
    yield directory
    log = directory / "build" / "demo" / "demo.log"
    if log.exists():  # a test failed
        (ROOT / "build").mkdir(exist_ok=True)
        (ROOT / "build" / "demo.log").write_bytes(log.read_bytes())
    run_make(directory, "demo-down")


def run_make(clone: Path, target: str) -> subprocess.CompletedProcess[str]:
    """Run a target in a fresh environment and without a terminal."""
    environment = {k: v for k, v in os.environ.items() if not k.startswith("MAKE")} | SETTINGS
    if "SSL_CERT_FILE" in environment:
        environment["MARQUEE_BUILD_CA"] = environment["SSL_CERT_FILE"]
    return subprocess.run(
        ["make", target], cwd=clone, env=environment, stdin=subprocess.DEVNULL,
        capture_output=True, text=True, timeout=1400, check=False,
    )  # fmt: skip


@pytest.mark.timeout(1500)
def test_demo_promotes_version_2_and_aborts_version_3(
    clone: Path, record_measurement: Callable[[str], None]
) -> None:
    start = time.monotonic()
    done = run_make(clone, "demo")
    assert done.returncode == 0, done.stdout + done.stderr
    remaining = done.stdout
    for text in EXPECTED_OUTPUT:
        assert text in remaining, f"{text!r} is missing or in another place: {done.stdout}"
        remaining = remaining[remaining.index(text) + len(text) :]
    last = next(line for line in done.stdout.splitlines() if line.startswith("==> done"))
    record_measurement(
        f"make demo, short: {time.monotonic() - start:.0f} s ({last.removeprefix('==> ')})"
    )
    for _ in range(10):
        response = requests.get(f"{URL}/recommend/42", timeout=2)
        assert response.headers["X-Model-Version"] == "2"
    tags = docker("image", "ls", "--format", "{{.Tag}}", PROJECT).split()
    assert any(tag.startswith("2-") for tag in tags)
    assert not any(tag.startswith("3-") for tag in tags), "the aborted image has a tag"
    git_status = ["git", "status", "--porcelain"]
    assert subprocess.run(git_status, cwd=clone, capture_output=True, check=True).stdout == b""


def test_second_demo_is_refused(clone: Path) -> None:
    done = run_make(clone, "demo")
    assert done.returncode != 0
    assert "a demo is running" in done.stderr
    assert requests.get(f"{URL}/recommend/42", timeout=2).ok


def test_demo_down_removes_everything(clone: Path) -> None:
    done = run_make(clone, "demo-down")
    assert done.returncode == 0, done.stderr
    label = ("--filter", f"label=com.docker.compose.project={PROJECT}")
    for command in (("ps", "--all"), ("volume", "ls"), ("network", "ls")):
        assert docker(*command, "--quiet", *label) == ""
    assert docker("image", "ls", "--quiet", PROJECT) == ""
    assert not (clone / "build" / "demo").exists()
