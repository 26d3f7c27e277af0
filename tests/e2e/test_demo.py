"""`make demo` on a fresh clone, first to last line, and `make demo-down`.

First of all files, before the suite's own stack is up, since both publish the same ports.
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
#: Shortened, where it is the length alone that is shortened.
SHORT = {"DEMO_VISITS": "400", "DEMO_WINDOW": "30"}
SHOWN = (
    "from version 1 in ",
    "lost on the way: 0",
    "version 2 passed its gate: RMSE 0.",
    "Data and Model version update: [2]",
    "promoting it",
    "from version 2 in ",
    "version-1 -> version-2: ",
    "version 2's 0.",  # the gate of version 3 compares
    "aborted: guard: beyond_edge_ratio is 1",
    "the stable slots are the same containers; requests failed since: 0",
    "Successfully deployed new model: version 2",
    "Release of version 3 aborted: guard: beyond_edge_ratio is 1",
    "make demo-down removes it all",
)


@pytest.fixture(scope="module")
def clone(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    if reason := find_missing_requirement():
        pytest.skip(f"the demo: {reason}")
    place = tmp_path_factory.mktemp("demo") / "marquee"
    subprocess.run(["git", "clone", "--quiet", str(ROOT), str(place)], check=True)
    yield place
    log = place / "build" / "demo" / "demo.log"
    if log.exists():  # a test failed
        (ROOT / "build").mkdir(exist_ok=True)
        (ROOT / "build" / "demo.log").write_bytes(log.read_bytes())
    make(place, "demo-down")


def make(clone: Path, target: str) -> subprocess.CompletedProcess[str]:
    """Run a target as somebody would who just cloned, and without a terminal."""
    environment = {k: v for k, v in os.environ.items() if not k.startswith("MAKE")} | SHORT
    if "SSL_CERT_FILE" in environment:
        environment["MARQUEE_BUILD_CA"] = environment["SSL_CERT_FILE"]
    return subprocess.run(
        ["make", target], cwd=clone, env=environment, stdin=subprocess.DEVNULL,
        capture_output=True, text=True, timeout=1400, check=False,
    )  # fmt: skip


@pytest.mark.timeout(1500)
def test_the_demo_shows_a_promotion_and_an_abort(
    clone: Path, figures: Callable[[str], None]
) -> None:
    start = time.monotonic()
    done = make(clone, "demo")
    assert done.returncode == 0, done.stdout + done.stderr
    rest = done.stdout
    for text in SHOWN:
        assert text in rest, f"{text!r} is missing, or not in its place: {done.stdout}"
        rest = rest[rest.index(text) + len(text) :]
    said = next(line for line in done.stdout.splitlines() if line.startswith("==> done"))
    figures(f"make demo, shortened: {time.monotonic() - start:.0f} s ({said.removeprefix('==> ')})")
    for _ in range(10):
        answer = requests.get(f"{URL}/recommend/42", timeout=2)
        assert answer.headers["X-Model-Version"] == "2"
    tags = docker("image", "ls", "--format", "{{.Tag}}", PROJECT).split()
    assert any(tag.startswith("2-") for tag in tags)
    assert not any(tag.startswith("3-") for tag in tags), "the aborted version's image has a tag"
    tree = ["git", "status", "--porcelain"]
    assert subprocess.run(tree, cwd=clone, capture_output=True, check=True).stdout == b""


def test_a_second_demo_does_not_begin(clone: Path) -> None:
    done = make(clone, "demo")
    assert done.returncode != 0
    assert "the demo is up" in done.stderr
    assert requests.get(f"{URL}/recommend/42", timeout=2).ok


def test_down_leaves_nothing(clone: Path) -> None:
    done = make(clone, "demo-down")
    assert done.returncode == 0, done.stderr
    label = ("--filter", f"label=com.docker.compose.project={PROJECT}")
    for kind in (("ps", "--all"), ("volume", "ls"), ("network", "ls")):
        assert docker(*kind, "--quiet", *label) == ""
    assert docker("image", "ls", "--quiet", PROJECT) == ""
    assert not (clone / "build" / "demo").exists()
