"""`make run` in a fresh clone, as described in the README."""

import os
import signal
import subprocess
import time
from pathlib import Path

import pytest
import requests

from tests.conftest import ROOT
from tests.support.service import free_port

TIMEOUT_SECONDS = 240


@pytest.fixture
def clone(tmp_path: Path) -> Path:
    target = tmp_path / "marquee"
    subprocess.run(["git", "clone", "--quiet", str(ROOT), str(target)], check=True)
    return target


def processes_in_group(group: int) -> list[str]:
    """List the processes of a process group."""
    rows = subprocess.run(
        ["ps", "-eo", "pgid=,pid=,args="], capture_output=True, text=True, check=True
    ).stdout.splitlines()
    return [row for row in rows if int(row.split()[0]) == group]


@pytest.mark.slow
def test_make_run_serves_and_ctrl_c_stops_all_processes(clone: Path, tmp_path: Path) -> None:
    port = free_port()
    environment = {k: v for k, v in os.environ.items() if not k.startswith("MAKE")}
    environment |= {"MARQUEE_BIND": f"127.0.0.1:{port}"}
    start = time.monotonic()
    with (tmp_path / "log").open("wb") as log:
        make = subprocess.Popen(
            ["make", "run"], cwd=clone, env=environment, stdout=log, stderr=log,
            start_new_session=True,
        )  # fmt: skip
    try:
        response = wait_for_response(make, port, start, tmp_path / "log")
        assert len(response.text.split(",")) == 20
        assert response.headers["X-Recommendation-Source"] == "personal"
        status = subprocess.run(
            ["git", "status", "--porcelain"], cwd=clone, capture_output=True, text=True, check=True
        )
        assert status.stdout == "", "make run creates files that git does not ignore"
    finally:
        os.killpg(make.pid, signal.SIGINT)
        make.wait(30)
    deadline = time.monotonic() + 10
    while left := processes_in_group(make.pid):
        assert time.monotonic() < deadline, left
        time.sleep(0.1)


def wait_for_response(
    make: subprocess.Popen[bytes], port: int, start: float, log: Path
) -> requests.Response:
    while time.monotonic() - start < TIMEOUT_SECONDS:
        assert make.poll() is None, log.read_text()
        try:
            return requests.get(f"http://127.0.0.1:{port}/recommend/42", timeout=0.6)
        except requests.RequestException:
            time.sleep(0.2)
    raise AssertionError(f"no response in {TIMEOUT_SECONDS} s: {log.read_text()}")
