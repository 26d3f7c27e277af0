"""`marquee serve` as a process."""

import json
import os
import signal
import socket
import subprocess
import sys
from pathlib import Path

import pytest
import requests

from tests.conftest import MOVIES, ROOT
from tests.support.service import Server, serving, wait_until_ready
from tests.support.waiting import eventually


def test_the_response_is_one_line_of_20_movie_ids(server: Server) -> None:
    response = server.get("/recommend/42")
    assert response.status_code == 200
    assert response.content == ",".join(MOVIES[1:21]).encode()


def test_connections_are_kept_alive(server: Server) -> None:
    with requests.Session() as session:
        session.get(server.url + "/recommend/1", timeout=0.6)
        response = session.get(server.url + "/recommend/2", timeout=0.6)
    assert response.headers.get("Connection", "keep-alive").lower() == "keep-alive"


def test_silent_and_incomplete_requests_do_not_block_others(server: Server) -> None:
    silent = [socket.create_connection(("127.0.0.1", server.port)) for _ in range(6)]
    incomplete = socket.create_connection(("127.0.0.1", server.port))
    incomplete.sendall(b"GET /recommend/42 HTTP/1.1\r\nHost: x\r\n")
    try:
        for _ in range(20):
            assert server.get("/recommend/42").status_code == 200
    finally:
        for connection in (*silent, incomplete):
            connection.close()


def test_sigterm_stops_all_processes_and_removes_the_metrics_files(
    shared_model: Path, tmp_path: Path
) -> None:
    with serving(shared_model, tmp_path) as server:
        server.get("/recommend/42")
        workers = server.workers()
        server.process.send_signal(signal.SIGTERM)
        assert server.process.wait(60) == 0
    assert not any(Path(f"/proc/{pid}").exists() for pid in workers)
    assert not list((tmp_path / "metrics").glob("*.db"))


def test_ctrl_c_stops_all_processes(shared_model: Path, tmp_path: Path) -> None:
    with serving(shared_model, tmp_path) as server:
        workers = server.workers()
        server.process.send_signal(signal.SIGINT)
        assert server.process.wait(60) == 0
        assert not any(Path(f"/proc/{pid}").exists() for pid in workers)


def test_an_invalid_model_is_reported_in_one_line(model: Path) -> None:
    (model / "lists" / "users.npy").unlink()
    result = subprocess.run(
        [sys.executable, "-m", "app", "serve"],
        cwd=ROOT,
        env={**os.environ, "MARQUEE_MODEL_DIR": str(model), "MARQUEE_BIND": "127.0.0.1:1"},
        capture_output=True,
        text=True,
        timeout=30,
        check=False,
    )
    assert result.returncode == 1
    assert result.stdout == ""
    assert result.stderr.count("\n") == 1
    assert "users.npy: missing" in result.stderr


def test_logs_are_json_without_a_terminal(server: Server) -> None:
    lines = server.log.read_text().splitlines()
    assert all(line.startswith("{") for line in lines), lines
    assert any('"event": "model loaded"' in line for line in lines)


def test_the_lines_of_gunicorn_are_those_of_the_service(shared_model: Path, tmp_path: Path) -> None:
    def events() -> list[dict[str, str]]:
        return [json.loads(line) for line in server.log.read_text().splitlines()]

    def is_logged(text: str) -> bool:
        return any(text in event["event"] for event in events())

    with serving(shared_model, tmp_path, MARQUEE_WORKERS="1") as server:
        for request, line in (
            (b"get / HTTP/1.1\r\nHost: x\r\n\r\n", "Invalid request from ip=127.0.0.1"),
            (b"GET /recommend/1 HTTP/1.1\r\nHost", "a client did not complete its request"),
        ):
            with socket.create_connection(("127.0.0.1", server.port)) as connection:
                connection.sendall(request)
                eventually(lambda line=line: is_logged(line), 60, line)  # type: ignore[misc]
        os.kill(server.workers()[0], signal.SIGKILL)
        eventually(lambda: is_logged("was sent SIGKILL"), 60, "a killed worker")
        eventually(lambda: is_logged("Booting worker"), 60, "a new worker")
    assert is_logged("Listening at") and is_logged("Shutting down: Master")
    for event in events():
        assert {"timestamp", "level", "logger", "event"} <= event.keys(), event
    levels = {event["level"] for event in events() if event["logger"] == "gunicorn.error"}
    assert levels == {"info", "warning", "error"}


def count_recommendations(server: Server) -> float:
    text = requests.get(server.url + "/metrics", timeout=2).text
    counts = [x for x in text.splitlines() if x.startswith("marquee_recommendations_total{")]
    return sum(float(line.rsplit(" ", 1)[1]) for line in counts)


def test_several_workers_share_their_counts_and_a_killed_one_loses_none(
    shared_model: Path, tmp_path: Path
) -> None:
    with serving(shared_model, tmp_path, MARQUEE_WORKERS="3") as server:
        for user in range(100):
            server.get(f"/recommend/{user}")
        assert count_recommendations(server) == 100
        victim = server.workers()[0]
        os.kill(victim, signal.SIGKILL)
        eventually(
            lambda: victim not in server.workers() and len(server.workers()) == 3,
            60,
            "a new worker",
        )
        for user in range(100):
            server.get(f"/recommend/{user}")
        assert count_recommendations(server) == 200


def count_unanswered(server: Server) -> float:
    """Started minus finished recommendation requests."""
    total = 0.0
    for line in requests.get(server.url + "/metrics", timeout=2).text.splitlines():
        name, _, value = line.rpartition(" ")
        if name.startswith("marquee_requests_started_total{"):
            total += float(value)
        elif name.startswith("flask_http_request_duration_seconds_count{"):
            total -= float(value) if "/recommend/" in name else 0
    return total


def test_requests_at_which_a_worker_dies_are_counted_as_unanswered(
    shared_model: Path, tmp_path: Path
) -> None:
    with serving(shared_model, tmp_path, MARQUEE_WORKERS="1", FAULT="dies:5") as server:
        for life in range(3):
            for user in range(4):
                assert server.get(f"/recommend/{user}").ok
            with pytest.raises(requests.ConnectionError):
                server.get("/recommend/4")
            wait_until_ready(server)
            assert count_unanswered(server) == life + 1


def test_the_number_of_series_does_not_grow_with_users(shared_model: Path, tmp_path: Path) -> None:
    with serving(shared_model, tmp_path) as server:
        server.get("/recommend/42")
        server.get("/recommend/43")
        server.get("/recommend/x")
        before = requests.get(server.url + "/metrics", timeout=2).text.count("\n")
        for user in range(300):
            server.get(f"/recommend/{user}")
        assert requests.get(server.url + "/metrics", timeout=2).text.count("\n") == before


def test_headers_and_body_arrive_together(server: Server) -> None:
    """NGINX cannot retry a request after it has received half a response."""
    with socket.create_connection(("127.0.0.1", server.port), timeout=0.6) as connection:
        for _ in range(50):
            connection.sendall(b"GET /recommend/42 HTTP/1.1\r\nHost: x\r\n\r\n")
            assert connection.recv(65536).endswith(MOVIES[20].encode())


def test_a_stopping_server_refuses_connections_at_once(shared_model: Path, tmp_path: Path) -> None:
    with serving(shared_model, tmp_path) as server:
        idle = socket.create_connection(("127.0.0.1", server.port))
        idle.sendall(b"GET /recommend/42 HTTP/1.1\r\nHost: x\r\n\r\n")
        idle.recv(65536)  # idle now: the server waits up to 2 s for its next request
        server.process.send_signal(signal.SIGTERM)
        eventually(lambda: refuses_connections(server.port), 60, "a refused connection")
        assert server.process.poll() is None
        idle.close()


def refuses_connections(port: int) -> bool:
    try:
        socket.create_connection(("127.0.0.1", port), timeout=0.6).close()
    except ConnectionRefusedError:
        return True
    return False
