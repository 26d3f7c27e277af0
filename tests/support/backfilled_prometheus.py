"""A real Prometheus with given samples: the binaries of the host or, without them, its image."""

import shutil
import socket
import subprocess
import urllib.request
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path

import pytest

from tests.support.waiting import eventually

IMAGE = "prom/prometheus:v3.5.0"

#: Name of a metric -> labels -> Unix time -> value.
Series = Mapping[str, Mapping[str, Mapping[int, float]]]


@contextmanager
def serve(directory: Path, series: Series) -> Iterator[str]:
    """Yield the URL of a Prometheus that has these samples."""
    directory.chmod(0o777)
    (directory / "metrics.txt").write_text(_write_openmetrics(series))
    (directory / "prometheus.yml").write_text("global: {}\n")
    if shutil.which("prometheus") and shutil.which("promtool"):
        subprocess.run([*_backfill("promtool", directory)], check=True, capture_output=True)
        with socket.socket() as probe:
            probe.bind(("127.0.0.1", 0))
            port = probe.getsockname()[1]
        with (directory / "log").open("wb") as log:
            command = ["prometheus", *_options(directory), f"--web.listen-address=127.0.0.1:{port}"]
            server = subprocess.Popen(command, stdout=log, stderr=log)
        try:
            yield _wait_for(f"http://127.0.0.1:{port}")
        finally:
            server.terminate()
            server.wait(30)
        return
    with _run_container(directory) as url:
        yield url


def _write_openmetrics(series: Series) -> str:
    lines = []
    for name, by_labels in series.items():
        lines.append(f"# TYPE {name} unknown")
        lines += [
            f"{name}{{{labels}}} {value:.17g} {time}"
            for labels, values in by_labels.items()
            for time, value in values.items()
        ]
    return "\n".join([*lines, "# EOF", ""])


def _backfill(promtool: str, directory: Path) -> list[str]:
    source, target = str(directory / "metrics.txt"), str(directory / "data")
    return [promtool, "tsdb", "create-blocks-from", "openmetrics", source, target]


def _options(directory: Path) -> list[str]:
    return [
        f"--config.file={directory / 'prometheus.yml'}",
        f"--storage.tsdb.path={directory / 'data'}",
        "--storage.tsdb.retention.time=100y",
    ]


def _wait_for(url: str) -> str:
    def is_ready() -> bool:
        try:
            with urllib.request.urlopen(f"{url}/-/ready", timeout=5) as response:
                return bool(response.status == 200)
        except OSError:
            return False

    eventually(is_ready, 60, "Prometheus is ready")
    return url


@contextmanager
def _run_container(directory: Path) -> Iterator[str]:
    if shutil.which("docker") is None:
        pytest.skip("Prometheus runs from its binaries or its image; both and docker are missing")
    inspect = ["docker", "image", "inspect", IMAGE]
    if subprocess.run(inspect, capture_output=True, check=False).returncode:
        pytest.skip(f"Prometheus runs from its binaries or {IMAGE}; both are missing (make images)")
    mount = f"--volume={directory}:{directory}"
    tool = ["docker", "run", "--rm", "--network=none", mount, "--entrypoint=/bin/promtool", IMAGE]
    subprocess.run([*tool, *_backfill("", directory)[1:]], check=True, capture_output=True)
    run = ["docker", "run", "--rm", "--detach", "--publish=127.0.0.1::9090", mount, IMAGE]
    started = subprocess.run(
        [*run, *_options(directory)], check=True, capture_output=True, text=True
    )
    container = started.stdout.strip()
    try:
        port = subprocess.run(
            ["docker", "port", container, "9090"], check=True, capture_output=True, text=True
        ).stdout.strip()
        yield _wait_for(f"http://{port.splitlines()[0]}")
    finally:
        subprocess.run(["docker", "kill", container], check=False, capture_output=True)
