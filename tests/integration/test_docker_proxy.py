"""What the proxy of Docker's socket passes on: the real HAProxy before a server that records."""

import http.client
import shutil
import socketserver
import subprocess
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler
from pathlib import Path
from threading import Thread

import pytest

from tests.conftest import ROOT
from tests.support.docker_api import ALLOWED, ID, REFUSED
from tests.support.service import free_port
from tests.support.waiting import eventually


class Engine(BaseHTTPRequestHandler):
    """Answers every request, and records it."""

    requests: list[tuple[str, str]] = []  # noqa: RUF012 - all instances share it

    def answer(self) -> None:
        self.requests.append((self.command, self.path))
        self.send_response(200)
        self.send_header("Content-Length", "0")
        self.end_headers()

    do_GET = do_HEAD = do_POST = do_PUT = do_DELETE = do_PATCH = do_OPTIONS = answer  # noqa: N815

    def address_string(self) -> str:
        return "proxy"

    def log_message(self, *_: object) -> None:
        pass


@pytest.fixture(scope="module")
def port(tmp_path_factory: pytest.TempPathFactory) -> Iterator[int]:
    if shutil.which("haproxy") is None:
        pytest.skip("haproxy is not installed (make test SYSTEM=1 installs it)")
    directory = tmp_path_factory.mktemp("proxy")
    socket, config, port = directory / "docker.sock", directory / "haproxy.cfg", free_port()
    text = (ROOT / "monitoring" / "docker-proxy" / "haproxy.cfg").read_text()
    assert "bind :2375" in text
    assert "/var/run/docker.sock" in text
    config.write_text(
        text.replace("bind :2375", f"bind 127.0.0.1:{port}").replace(
            "/var/run/docker.sock", str(socket)
        )
    )
    with socketserver.ThreadingUnixStreamServer(str(socket), Engine) as server:
        Thread(target=server.serve_forever, daemon=True).start()
        proxy = subprocess.Popen(["haproxy", "-W", "-db", "-f", config])
        try:
            eventually(lambda: is_listening(port), 60, "the proxy")
            yield port
        finally:
            proxy.terminate()
            proxy.wait(30)
            server.shutdown()


def is_listening(port: int) -> bool:
    try:
        return request(port, "GET", "/_ping") == 200
    except OSError:
        return False


def request(port: int, method: str, path: str, **headers: str) -> int:
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=30)
    try:
        connection.request(method, path, headers=headers)
        return connection.getresponse().status
    finally:
        connection.close()


@pytest.mark.parametrize(("method", "path"), ALLOWED)
def test_requests_of_cadvisor_are_passed_on(port: int, method: str, path: str) -> None:
    assert request(port, method, path) == 200
    assert Engine.requests[-1] == (method, path)


def test_nothing_else_reaches_docker(port: int) -> None:
    before = len(Engine.requests)
    statuses = {(method, path): request(port, method, path) for method, path in REFUSED}
    assert {pair: status for pair, status in statuses.items() if status < 400} == {}
    assert Engine.requests[before:] == []


def test_a_connection_is_not_taken_over(port: int) -> None:
    before = len(Engine.requests)
    path = f"/containers/{ID}/json"
    assert request(port, "GET", path, Connection="Upgrade", Upgrade="tcp") == 403
    assert Engine.requests[before:] == []


def test_the_configuration_mounts_nothing_else(tmp_path: Path) -> None:
    """A second file in the directory would be visible in the container with the socket."""
    names = [path.name for path in (ROOT / "monitoring" / "docker-proxy").iterdir()]
    assert names == ["haproxy.cfg"]
