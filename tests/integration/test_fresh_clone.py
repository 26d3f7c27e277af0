"""`make run` in a fresh clone, as described in the README."""

import contextlib
import os
import signal
import subprocess
from pathlib import Path

import pytest
import requests

from tests.conftest import ROOT
from tests.support.service import free_port
from tests.support.waiting import eventually

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
    with (tmp_path / "log").open("wb") as log:
        make = subprocess.Popen(
            ["make", "run"], cwd=clone, env=environment, stdout=log, stderr=log,
            start_new_session=True,
        )  # fmt: skip
    try:
        response = wait_for_response(make, port, tmp_path / "log")
        assert len(response.text.split(",")) == 20
        assert response.headers["X-Recommendation-Source"] == "personal"
        status = subprocess.run(
            ["git", "status", "--porcelain"], cwd=clone, capture_output=True, text=True, check=True
        )
        assert status.stdout == "", "make run creates files that git does not ignore"
    finally:
        os.killpg(make.pid, signal.SIGINT)
        make.wait(60)
    eventually(lambda: not processes_in_group(make.pid), 60, lambda: processes_in_group(make.pid))


def wait_for_response(make: subprocess.Popen[bytes], port: int, log: Path) -> requests.Response:
    responses: list[requests.Response] = []

    def responds() -> bool:
        assert make.poll() is None, log.read_text()
        with contextlib.suppress(requests.RequestException):
            responses.append(requests.get(f"http://127.0.0.1:{port}/recommend/42", timeout=0.6))
        return bool(responses)

    eventually(responds, TIMEOUT_SECONDS, log.read_text)
    return responses[0]
