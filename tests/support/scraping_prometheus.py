"""A real Prometheus that scrapes given metrics and has our rules: of the host, or its image."""

import json
import shutil
import socket
import subprocess
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any
from urllib.parse import urlencode

import pytest
from pytest_httpserver import HTTPServer

from tests.conftest import ROOT
from tests.support.backfilled_prometheus import IMAGE
from tests.support.waiting import eventually


@contextmanager
def serve(directory: Path, server: HTTPServer, metrics: str) -> Iterator[str]:
    """Yield the URL of a Prometheus that has scraped these metrics as slot `stable-1`."""
    program = find_program(directory)
    server.expect_request("/metrics").respond_with_data(metrics, content_type="text/plain")
    scrape = {
        "job_name": "marquee",
        "scrape_interval": "1s",
        "static_configs": [
            {
                "targets": [f"{server.host}:{server.port}"],
                "labels": {"slot": "stable-1", "role": "stable"},
            }
        ],
    }
    configuration = {
        "global": {"evaluation_interval": "1s"},
        "rule_files": [str(ROOT / "monitoring" / "prometheus" / "rules" / "*.yml")],
        "scrape_configs": [scrape],
    }
    (directory / "prometheus.yml").write_text(json.dumps(configuration))
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        url = f"http://127.0.0.1:{probe.getsockname()[1]}"
    command = [
        *program,
        f"--config.file={directory / 'prometheus.yml'}",
        f"--storage.tsdb.path={directory / 'data'}",
        f"--web.listen-address={url.removeprefix('http://')}",
    ]
    with (directory / "log").open("wb") as log:
        process = subprocess.Popen(command, stdout=log, stderr=log)
    try:
        eventually(lambda: query(url, "up == 1") != [], 60, "Prometheus has scraped")
        yield url
    finally:
        process.terminate()
        process.wait(30)


def find_program(directory: Path) -> list[str]:
    """Return the command of Prometheus, which reads and writes below `directory`."""
    if shutil.which("prometheus"):
        return ["prometheus"]
    inspect = ["docker", "image", "inspect", IMAGE]
    if (
        shutil.which("docker") is None
        or subprocess.run(inspect, capture_output=True, check=False).returncode
    ):
        pytest.skip(f"Prometheus runs from its binary or {IMAGE}; both are missing (make images)")
    rules = ROOT / "monitoring" / "prometheus"
    return [
        "docker", "run", "--rm", "--network=host", "--user=0", f"--volume={directory}:{directory}",
        f"--volume={rules}:{rules}:ro", "--entrypoint=/bin/prometheus", IMAGE,
    ]  # fmt: skip


def query(url: str, expression: str) -> list[dict[str, Any]]:
    """Evaluate an expression; a refused one is an error, no answer an empty list."""
    address = f"{url}/api/v1/query?{urlencode({'query': expression})}"
    try:
        with urllib.request.urlopen(address, timeout=10) as response:
            return list(json.load(response)["data"]["result"])
    except urllib.error.HTTPError as error:
        if error.code == 503:  # it is starting
            return []
        raise AssertionError(f"{expression}: {error.read().decode()}") from error
    except OSError:
        return []
