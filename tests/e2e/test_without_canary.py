"""The stack serves without any canary, also after Docker itself was restarted."""

import os
import shutil
import signal
import subprocess
import time
from collections.abc import Iterator
from pathlib import Path

import pytest
import requests

from tests.conftest import ROOT
from tests.support.load import attack
from tests.support.stack import PROJECT, URL, Stack, docker, eventually


@pytest.fixture(scope="module")
def without_canary(stack: Stack) -> Iterator[Stack]:
    """The edge and the stables, started where no canary image exists."""
    stack.compose("rm", "--stop", "--force", "canary", "nginx", "stable-1", "stable-2")
    docker("image", "rm", f"{PROJECT}:canary")
    stack.compose("up", "-d", "--no-build", "--wait", "nginx", "stable-1", "stable-2")
    yield stack
    stack.compose("up", "-d", "--wait")


def test_it_serves_without_a_canary_image(without_canary: Stack) -> None:
    assert "canary" not in without_canary.services()
    result = attack(URL, range(1000), rate=200, seconds=5)
    assert result.failed == 0, result
    assert set(result.slots) == {"stable-1", "stable-2"}


def test_it_serves_after_docker_was_restarted(without_canary: Stack) -> None:
    if os.environ.get("SYSTEM") != "1":
        pytest.skip("restarting the machine's Docker daemon: only with SYSTEM=1")
    restart_docker()

    def answers() -> bool:
        try:
            return requests.get(f"{URL}/recommend/42", timeout=0.6).ok
        except requests.RequestException:
            return False

    eventually(answers, 90, "an answer after the restart of Docker")
    eventually(lambda: attack(URL, range(100), 100, 2).failed == 0, 30, "no failure any more")


def restart_docker() -> None:
    """Stop the daemon and start it as scripts/install_system.sh does."""
    if Path("/run/systemd/system").is_dir() and shutil.which("systemctl"):
        subprocess.run(["systemctl", "restart", "docker"], check=True, timeout=120)
        return
    pid = int(Path("/var/run/docker.pid").read_text())
    os.kill(pid, signal.SIGTERM)
    deadline = time.monotonic() + 60
    while Path(f"/proc/{pid}").exists():
        assert time.monotonic() < deadline, "the Docker daemon does not stop"
        time.sleep(0.2)
    subprocess.run([ROOT / "scripts" / "install_system.sh", "docker"], check=True, timeout=180)
