"""`marquee serve` as an operator runs it."""

import os
import signal
import socket
import subprocess
import sys
import time
from pathlib import Path

import pytest
import requests

from tests.conftest import MOVIES, ROOT
from tests.integration.service.conftest import Server, serving


def test_it_answers_in_the_contracts_form(server: Server) -> None:
    answer = server.get("/recommend/42")
    assert answer.status_code == 200
    assert answer.content == ",".join(MOVIES[1:21]).encode()


def test_connections_are_kept_alive(server: Server) -> None:
    with requests.Session() as session:
        session.get(server.url + "/recommend/1", timeout=0.6)
        answer = session.get(server.url + "/recommend/2", timeout=0.6)
    assert answer.headers.get("Connection", "keep-alive").lower() == "keep-alive"


def test_silent_and_half_finished_clients_do_not_stop_the_others(server: Server) -> None:
    silent = [socket.create_connection(("127.0.0.1", server.port)) for _ in range(6)]
    half = socket.create_connection(("127.0.0.1", server.port))
    half.sendall(b"GET /recommend/42 HTTP/1.1\r\nHost: x\r\n")
    try:
        for _ in range(20):
            assert server.get("/recommend/42").status_code == 200
    finally:
        for connection in (*silent, half):
            connection.close()


def test_sigterm_ends_it_cleanly_and_leaves_no_counts(shared_model: Path, tmp_path: Path) -> None:
    with serving(shared_model, tmp_path) as server:
        server.get("/recommend/42")
        workers = server.workers()
        server.process.send_signal(signal.SIGTERM)
        assert server.process.wait(15) == 0
    assert not any(Path(f"/proc/{pid}").exists() for pid in workers)
    assert not list((tmp_path / "metrics").glob("*.db"))


def test_ctrl_c_ends_every_process(shared_model: Path, tmp_path: Path) -> None:
    with serving(shared_model, tmp_path) as server:
        workers = server.workers()
        server.process.send_signal(signal.SIGINT)
        assert server.process.wait(15) == 0
        assert not any(Path(f"/proc/{pid}").exists() for pid in workers)


def test_a_model_that_must_not_be_served_is_one_clear_line(model: Path) -> None:
    (model / "lists" / "users.npy").unlink()
    done = subprocess.run(
        [sys.executable, "-m", "app", "serve"],
        cwd=ROOT,
        env={**os.environ, "MARQUEE_MODEL_DIR": str(model), "MARQUEE_BIND": "127.0.0.1:1"},
        capture_output=True,
        text=True,
        timeout=30,
        check=False,
    )
    assert done.returncode == 1
    assert done.stdout == ""
    assert done.stderr.count("\n") == 1
    assert "users.npy: missing" in done.stderr


def test_logs_are_json_when_no_terminal_reads_them(server: Server) -> None:
    lines = server.log.read_text().splitlines()
    assert all(line.startswith("{") for line in lines), lines
    assert any('"event": "model loaded"' in line for line in lines)


def total(server: Server) -> float:
    text = requests.get(server.url + "/metrics", timeout=2).text
    counts = [x for x in text.splitlines() if x.startswith("marquee_recommendations_total{")]
    return sum(float(line.rsplit(" ", 1)[1]) for line in counts)


def test_counts_are_right_with_several_workers_also_after_one_is_killed(
    shared_model: Path, tmp_path: Path
) -> None:
    with serving(shared_model, tmp_path, MARQUEE_WORKERS="3") as server:
        for user in range(100):
            server.get(f"/recommend/{user}")
        assert total(server) == 100
        victim = server.workers()[0]
        os.kill(victim, signal.SIGKILL)
        deadline = time.monotonic() + 10
        while victim in server.workers() or len(server.workers()) < 3:
            assert time.monotonic() < deadline
            time.sleep(0.05)
        for user in range(100):
            server.get(f"/recommend/{user}")
        assert total(server) == 200


def test_series_do_not_grow_with_users(shared_model: Path, tmp_path: Path) -> None:
    with serving(shared_model, tmp_path) as server:
        server.get("/recommend/42")
        server.get("/recommend/43")
        server.get("/recommend/x")
        before = requests.get(server.url + "/metrics", timeout=2).text.count("\n")
        for user in range(300):
            server.get(f"/recommend/{user}")
        assert requests.get(server.url + "/metrics", timeout=2).text.count("\n") == before


def test_headers_and_body_come_together(server: Server) -> None:
    """Half an answer is one that NGINX cannot ask another slot for."""
    with socket.create_connection(("127.0.0.1", server.port), timeout=0.6) as connection:
        for _ in range(50):
            connection.sendall(b"GET /recommend/42 HTTP/1.1\r\nHost: x\r\n\r\n")
            assert connection.recv(65536).endswith(MOVIES[20].encode())


def test_a_stopping_server_refuses_at_once(shared_model: Path, tmp_path: Path) -> None:
    with serving(shared_model, tmp_path) as server:
        idle = socket.create_connection(("127.0.0.1", server.port))
        idle.sendall(b"GET /recommend/42 HTTP/1.1\r\nHost: x\r\n\r\n")
        idle.recv(65536)  # now kept alive, which holds the server for its two seconds
        server.process.send_signal(signal.SIGTERM)
        time.sleep(0.5)
        assert server.process.poll() is None
        with pytest.raises(ConnectionRefusedError):
            socket.create_connection(("127.0.0.1", server.port), timeout=0.6)
        idle.close()
