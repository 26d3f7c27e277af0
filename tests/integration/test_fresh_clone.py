"""`make run` on a fresh clone, as the README has it."""

import os
import signal
import subprocess
import time
from pathlib import Path

import pytest
import requests

from tests.conftest import ROOT
from tests.integration.service.conftest import free_port

MINUTES_4 = 240


@pytest.fixture
def clone(tmp_path: Path) -> Path:
    target = tmp_path / "marquee"
    subprocess.run(["git", "clone", "--quiet", str(ROOT), str(target)], check=True)
    return target


def in_group(group: int) -> list[str]:
    """The processes of a process group."""
    rows = subprocess.run(
        ["ps", "-eo", "pgid=,pid=,args="], capture_output=True, text=True, check=True
    ).stdout.splitlines()
    return [row for row in rows if int(row.split()[0]) == group]


@pytest.mark.slow
def test_make_run_answers_and_ctrl_c_stops_everything(clone: Path, tmp_path: Path) -> None:
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
        answer = wait_for_answer(make, port, start, tmp_path / "log")
        assert len(answer.text.split(",")) == 20
        assert answer.headers["X-Recommendation-Source"] == "personal"
        status = subprocess.run(
            ["git", "status", "--porcelain"], cwd=clone, capture_output=True, text=True, check=True
        )
        assert status.stdout == "", "make run leaves files that git does not ignore"
    finally:
        os.killpg(make.pid, signal.SIGINT)
        make.wait(30)
    deadline = time.monotonic() + 10
    while left := in_group(make.pid):
        assert time.monotonic() < deadline, left
        time.sleep(0.1)


def wait_for_answer(
    make: subprocess.Popen[bytes], port: int, start: float, log: Path
) -> requests.Response:
    while time.monotonic() - start < MINUTES_4:
        assert make.poll() is None, log.read_text()
        try:
            return requests.get(f"http://127.0.0.1:{port}/recommend/42", timeout=0.6)
        except requests.RequestException:
            time.sleep(0.2)
    raise AssertionError(f"no answer in four minutes: {log.read_text()}")
