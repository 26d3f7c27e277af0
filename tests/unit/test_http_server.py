import socket
import time
from collections.abc import Iterator

import pytest
import requests
from prometheus_client import CollectorRegistry, Gauge

from app.http_server import BackgroundServer, create_app, start_server

TIMEOUT = 10


class Loop:
    alive = True


@pytest.fixture
def loop() -> Loop:
    return Loop()


@pytest.fixture
def server(loop: Loop) -> Iterator[BackgroundServer]:
    registry = CollectorRegistry()
    Gauge("marquee_depth", "A depth.", registry=registry).set(7)
    server = BackgroundServer("127.0.0.1:0", create_app(registry, lambda: loop.alive))
    yield server
    server.stop()


def get(server: BackgroundServer, path: str) -> requests.Response:
    return requests.get(f"http://127.0.0.1:{server.port}{path}", timeout=TIMEOUT)


def test_metrics_are_those_of_the_registry(server: BackgroundServer) -> None:
    response = get(server, "/metrics")
    assert "marquee_depth 7.0" in response.text
    assert response.headers["Content-Type"].startswith("text/plain; version=")


def test_health_follows_the_main_loop(server: BackgroundServer, loop: Loop) -> None:
    for alive, status in ((True, (200, {"status": "alive"})), (False, (503, {"status": "stuck"}))):
        loop.alive = alive
        response = get(server, "/health")
        assert (response.status_code, response.json()) == status


def test_an_unknown_path_is_a_problem_document(server: BackgroundServer) -> None:
    response = get(server, "/nothing")
    assert response.status_code == 404
    assert response.headers["Content-Type"] == "application/problem+json"
    assert response.json()["title"] == "Not Found"


def test_a_silent_client_does_not_keep_others_waiting(server: BackgroundServer) -> None:
    silent = [socket.create_connection(("127.0.0.1", server.port)) for _ in range(8)]
    try:
        assert get(server, "/health").status_code == 200
    finally:
        for connection in silent:
            connection.close()


def test_the_port_is_free_again_after_a_stop() -> None:
    app = create_app(CollectorRegistry(), lambda: True)
    first = BackgroundServer("127.0.0.1:0", app)
    port = first.port
    first.stop()
    second = BackgroundServer(f"127.0.0.1:{port}", app)
    second.stop()


def test_a_stop_is_not_delayed_by_an_open_connection(server: BackgroundServer) -> None:
    with socket.create_connection(("127.0.0.1", server.port)):
        begin = time.monotonic()
        server.stop()
        assert time.monotonic() - begin < TIMEOUT


# cheroot leaves the socket it could not bind to the garbage collector.
@pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning")
def test_a_port_in_use_does_not_stop_the_command(server: BackgroundServer) -> None:
    app = create_app(CollectorRegistry(), lambda: True)
    assert start_server(f"127.0.0.1:{server.port}", app) is None
