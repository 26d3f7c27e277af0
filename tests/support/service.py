"""`marquee serve` as a child process on a free port."""

import os
import random
import signal
import socket
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import requests

from tests.conftest import ROOT
from tests.support.waiting import eventually

FAULTY = ROOT / "tests" / "e2e" / "faulty"


@dataclass
class Server:
    """A running service."""

    process: subprocess.Popen[bytes]
    port: int
    log: Path

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.port}"

    def get(self, path: str) -> requests.Response:
        """Send a request with the timeout of clients, 600 ms."""
        return requests.get(self.url + path, timeout=0.6)

    def workers(self) -> list[int]:
        children = Path(f"/proc/{self.process.pid}/task/{self.process.pid}/children")
        return [int(pid) for pid in children.read_text().split()]


def free_port() -> int:
    """Find a free port below the kernel's range for outgoing connections."""
    while True:
        port = random.randrange(20_000, 32_000)
        with socket.socket() as probe:
            probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            try:
                probe.bind(("127.0.0.1", port))
            except OSError:
                continue
        return port


@contextmanager
def serving(model: Path, directory: Path, /, *arguments: str, **settings: str) -> Iterator[Server]:
    """Run `marquee serve` with a model until the end of the block.

    With the setting FAULT the service has that fault (tests/e2e/faulty/faults.py).
    """
    port = free_port()
    log = directory / "serve.log"
    (directory / "metrics").mkdir(exist_ok=True)
    environment = {
        **os.environ,
        "MARQUEE_MODEL_DIR": str(model),
        "MARQUEE_BIND": f"127.0.0.1:{port}",
        "PROMETHEUS_MULTIPROC_DIR": str(directory / "metrics"),
        **settings,
    }
    command = ["-m", "app", "serve", *arguments]
    if "FAULT" in settings:
        command = ["-m", "faults"]
        environment["PYTHONPATH"] = f"{FAULTY}:{ROOT}"
    with log.open("ab") as output:
        process = subprocess.Popen(
            [sys.executable, *command],
            cwd=ROOT,
            env=environment,
            stdout=output,
            stderr=output,
        )
    server = Server(process, port, log)
    try:
        wait_until_ready(server)
        yield server
    finally:
        process.send_signal(signal.SIGTERM)
        process.wait(30)


def wait_until_ready(server: Server) -> None:
    def is_ready() -> bool:
        assert server.process.poll() is None, f"the server exited: {server.log.read_text()}"
        try:
            return requests.get(server.url + "/ready", timeout=2).ok
        except requests.RequestException:
            return False

    eventually(is_ready, 60, lambda: f"ready: {server.log.read_text()}")
