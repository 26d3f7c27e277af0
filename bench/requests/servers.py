"""Start the service and the baselines with one gunicorn configuration, core and free port each."""

import os
import re
import signal
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from bench.requests.baseline_constant import GUNICORN
from bench.requests.model import ROOT

#: Server -> command.
COMMANDS = {
    "marquee": [sys.executable, "-m", "app", "serve"],
    "marquee-recent": [sys.executable, "-m", "app", "serve"],
    "marquee-off": [sys.executable, "-m", "app", "serve"],
    "before": [sys.executable, "-m", "app", "serve"],
    "constant": [*GUNICORN, "bench.requests.baseline_constant:wsgi()"],
    "constant-plain": [*GUNICORN, "bench.requests.baseline_constant:plain()"],
    "naive": [*GUNICORN, "bench.requests.baseline_naive:wsgi()"],
}
_PRIVATE = re.compile(r"^Private_(?:Clean|Dirty):\s+(\d+) kB", re.M)


@dataclass(frozen=True)
class Server:
    """A running server whose `/ready` has succeeded."""

    process: subprocess.Popen[bytes]
    port: int
    seconds_to_ready: float

    @property
    def url(self) -> str:
        """Base URL."""
        return f"http://127.0.0.1:{self.port}"

    def workers(self) -> list[int]:
        """Process ids of gunicorn's workers."""
        pid = self.process.pid
        children = Path(f"/proc/{pid}/task/{pid}/children").read_text()
        return [int(child) for child in children.split()]

    def private_mb(self) -> list[float]:
        """Private memory of each worker in MB."""
        return [
            sum(map(int, _PRIVATE.findall(Path(f"/proc/{pid}/smaps_rollup").read_text()))) / 1024
            for pid in self.workers()
        ]


def cores() -> tuple[int, int]:
    """Core of the server and core of the load generator; different ones if there are two."""
    available = sorted(os.sched_getaffinity(0))
    return available[-1], available[0]


@contextmanager
def serving(
    name: str,
    model: Path,
    workers: int = 1,
    recent: Path | None = None,
    tree: Path = ROOT,
    **settings: str,
) -> Iterator[Server]:
    """Run one of `COMMANDS` in a temporary directory until the end of the block.

    Args:
        name: of the command.
        model: the model directory.
        workers: number of workers.
        recent: directory of the recent activity; None: it is switched off.
        tree: clone whose code is run.
        settings: further environment variables.
    """
    with tempfile.TemporaryDirectory(prefix="marquee-bench-") as folder:
        port = free_port()
        metrics = Path(folder) / "metrics"
        metrics.mkdir()
        environment = os.environ | {
            "MARQUEE_MODEL_DIR": str(model),
            "MARQUEE_BIND": f"127.0.0.1:{port}",
            "MARQUEE_WORKERS": str(workers),
            "MARQUEE_LOG_LEVEL": "warning",
            "MARQUEE_SPOOL_DIR": f"{folder}/spool",
            "PYTHONPATH": str(tree),
            "PROMETHEUS_MULTIPROC_DIR": str(metrics),
            "MARQUEE_RECENT_ENABLED": str(recent is not None),
            "MARQUEE_RECENT_DIR": str(recent or "none"),
            **settings,
        }
        with (Path(folder) / "log").open("w+b") as log:
            started = time.perf_counter()
            process = subprocess.Popen(
                ["taskset", "--cpu-list", str(cores()[0]), *COMMANDS[name]],
                cwd=tree,
                env=environment,
                stdout=log,
                stderr=log,
            )
            try:
                _wait_until_ready(process, port, Path(log.name))
                yield Server(process, port, time.perf_counter() - started)
            finally:
                process.send_signal(signal.SIGTERM)
                process.wait(30)


def _wait_until_ready(process: subprocess.Popen[bytes], port: int, log: Path) -> None:
    deadline = time.monotonic() + 120
    while time.monotonic() < deadline:
        if process.poll() is not None:
            raise SystemExit(f"the server exited: {log.read_text()}")
        if _is_ready(port):
            return
        time.sleep(0.005)
    raise SystemExit(f"not ready in time: {log.read_text()}")


def _is_ready(port: int) -> bool:
    try:
        with socket.create_connection(("127.0.0.1", port), timeout=5) as connection:
            connection.sendall(b"GET /ready HTTP/1.0\r\n\r\n")
            return b" 200 " in connection.recv(64)
    except OSError:
        return False


def free_port() -> int:
    """Find a free port."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
        return port
