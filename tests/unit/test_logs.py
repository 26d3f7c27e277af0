"""Everything that a process writes to standard error is a line of the log."""

import json
import os
import subprocess
import sys
from pathlib import Path

from tests.conftest import ROOT

COMMAND = """
import logging
import threading
import warnings

import click


def fail():
    raise ValueError("in a thread")


@click.command
def crash():
    warnings.warn("something is old")
    logging.getLogger("some.library").warning("of a library, %d", 7)
    thread = threading.Thread(target=fail)
    thread.start()
    thread.join()
    raise RuntimeError("at the end")
"""
MAIN = "from app import cli; cli.COMMANDS['crash'] = 'crash_command'; cli.main(['crash'])"


def test_warnings_libraries_and_uncaught_exceptions_are_json(tmp_path: Path) -> None:
    (tmp_path / "crash_command.py").write_text(COMMAND)
    done = subprocess.run(
        [sys.executable, "-c", MAIN],
        env={**os.environ, "PYTHONPATH": f"{ROOT}:{tmp_path}", "MARQUEE_LOG_FORMAT": "json"},
        stderr=subprocess.PIPE,
        check=False,
    )
    events = [json.loads(line) for line in done.stderr.splitlines()]
    assert all({"timestamp", "level", "logger"} <= event.keys() for event in events)
    assert [(event["level"], event["logger"]) for event in events] == [
        ("warning", "py.warnings"),
        ("warning", "some.library"),
        ("critical", "app.logs"),
        ("critical", "app.logs"),
    ]
    assert events[1]["event"] == "of a library, 7"
    assert "ValueError: in a thread" in events[2]["exception"]
    assert "RuntimeError: at the end" in events[3]["exception"]
    assert done.returncode == 1
