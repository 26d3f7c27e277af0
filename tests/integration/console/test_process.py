"""`marquee console` as a process: it serves, outlives its sources, and ends at SIGTERM."""

import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest
import requests
from pytest_httpserver import HTTPServer

from tests.support.console import (
    AnsweringPrometheus,
    AnsweringScheduler,
    fill_database,
    write_release,
)
from tests.support.waiting import eventually


@pytest.mark.parametrize("stop", [signal.SIGTERM, signal.SIGINT])
def test_the_process_serves_and_outlives_its_sources(
    tmp_path: Path, shared_model: Path, httpserver: HTTPServer, stop: signal.Signals
) -> None:
    prometheus = AnsweringPrometheus(httpserver)
    AnsweringScheduler(httpserver)
    fill_database(tmp_path, shared_model)
    write_release(tmp_path / "release")
    variables = {
        "MARQUEE_CONSOLE_BIND": "127.0.0.1:0",
        "MARQUEE_CONSOLE_DIR": str(tmp_path / "console"),
        "MARQUEE_PROMETHEUS_URL": prometheus.url,
        "MARQUEE_SCHEDULER_URL": prometheus.url,
        "MARQUEE_DATABASE": f"sqlite:///{tmp_path}/provenance.db",
        "MARQUEE_RELEASE_DIR": str(tmp_path / "release"),
        "MARQUEE_LOG_FORMAT": "json",
    }
    log = tmp_path / "log"
    with log.open("wb") as output:
        process = subprocess.Popen(
            [sys.executable, "-m", "app", "console"], env={**os.environ, **variables}, stderr=output
        )
    try:
        eventually(lambda: "console started" in log.read_text(), 60, log.read_text)
        port = log.read_text().split('"port":')[1].split(",")[0].strip(" }\n")
        url = f"http://127.0.0.1:{port}"

        def get(path: str = "/") -> str:
            return requests.get(url + path, timeout=10).text

        eventually(lambda: "All is well" in get(), 60, get)
        (tmp_path / "release" / "state.json").write_text("{")
        eventually(lambda: "state.json is damaged" in get(), 60, get)
        assert "Version 8: analyzing" in get("/release")
        write_release(tmp_path / "release", phase="promoting")
        eventually(lambda: "All is well" in get(), 60, get)
        assert 'marquee_console_source_up{source="Prometheus"} 1.0' in get("/metrics")
    finally:
        process.send_signal(stop)
        assert process.wait(30) == 0
