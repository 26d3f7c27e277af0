"""Commands read their files again when these have changed."""

import os
import subprocess
import sys
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path

import pytest
from structlog.testing import capture_logs

from app.atomic_files import write_file
from app.settings import read_settings
from app.settings_watch import SettingsWatch
from app.shutdown import StopEvent
from tests.conftest import ROOT
from tests.support.waiting import eventually

#: What a command logs when it has started.
STARTED = {
    "ship": "shipper started",
    "schedule": "retraining is disabled: MARQUEE_GIT_REMOTE is not set",
    "collect": "idle: no broker is configured (MARQUEE_KAFKA_SERVERS)",
}


@pytest.fixture
def secret(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    path = tmp_path / "slack_webhook"
    path.write_text("https://slack.example/1")
    monkeypatch.setenv("MARQUEE_SLACK_WEBHOOK_FILE", str(path))
    return path


def test_only_another_valid_value_of_a_file_is_a_change(secret: Path) -> None:
    stop = StopEvent()
    watch = SettingsWatch(read_settings(), stop)
    write_file(secret, b"https://slack.example/1\n")
    assert not watch.has_changed()
    with capture_logs() as logs:
        for _ in range(2):
            secret.write_text("no address")
            assert not watch.has_changed()
    assert [log["log_level"] for log in logs] == ["error"]
    assert "MARQUEE_SLACK_WEBHOOK" in logs[0]["error"]
    write_file(secret, b"https://slack.example/2")
    assert watch.has_changed()
    stop.signalled = True
    watch.restart_if_changed()  # returns, because the command is to end


def test_a_setting_that_an_argument_replaces_is_no_change(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("MARQUEE_SLOT", "canary")
    assert not SettingsWatch(read_settings(slot="local"), StopEvent()).has_changed()


@contextmanager
def running(command: str, log: Path, **settings: str) -> Iterator[subprocess.Popen[bytes]]:
    with log.open("w") as file:
        process = subprocess.Popen(
            [sys.executable, "-m", "app", command], cwd=ROOT, env={**os.environ, **settings},
            stdout=file, stderr=file,
        )  # fmt: skip
    try:
        yield process
    finally:
        process.kill()
        process.wait()


def test_a_long_running_command_restarts_in_its_process(secret: Path, tmp_path: Path) -> None:
    logs = {command: tmp_path / f"{command}.log" for command in STARTED}
    settings = {
        "MARQUEE_SPOOL_DIR": str(tmp_path / "spool"),
        "MARQUEE_DATABASE": f"sqlite:///{tmp_path}/p.db",
        "MARQUEE_WORKSPACE_DIR": str(tmp_path / "workspace"),
        "MARQUEE_LOG_FORMAT": "json",
        **{f"MARQUEE_{name}_BIND": "127.0.0.1:0" for name in ("SHIPPER", "SCHEDULER", "COLLECTOR")},
    }

    def wait_for_starts(number: int) -> None:
        def have_started() -> bool:
            found = [logs[command].read_text().count(text) for command, text in STARTED.items()]
            return found == [number] * len(found)

        eventually(have_started, 120, lambda: [log.read_text() for log in logs.values()])

    with ExitStack() as stack:
        processes = [
            stack.enter_context(running(command, log, **settings)) for command, log in logs.items()
        ]
        wait_for_starts(1)
        write_file(secret, b"https://slack.example/1\n")
        write_file(secret, b"https://slack.example/2\n")
        wait_for_starts(2)
        for process in processes:
            process.terminate()
        assert [process.wait(60) for process in processes] == [0, 0, 0]
    for log in logs.values():
        assert log.read_text().count("a setting has changed in its file: restarting") == 1
