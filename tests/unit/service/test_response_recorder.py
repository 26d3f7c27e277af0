"""What the service hands to the queue; the queue itself is tried in tests/unit/provenance."""

import errno
import os
import socket
import time
from pathlib import Path
from typing import Any

import pytest
from flask import Flask

from app.provenance.record_format import ASKED_AGAIN, GIVEN_UP, PERSONAL
from app.provenance.spool_reader import Backlog, Piece
from app.provenance.spool_writer import segments
from app.service.application import create_app
from app.service.response_recorder import edge_has_gone
from app.settings import Settings
from tests.conftest import MOVIES


@pytest.fixture
def app(shared_model: Path, tmp_path: Path) -> Flask:
    return create_app(Settings(model_dir=shared_model, slot="canary", spool_dir=tmp_path / "queue"))


def recorded(tmp_path: Path) -> Piece:
    backlog = Backlog(tmp_path / "queue")
    (piece,) = (p for s in segments(tmp_path / "queue") for p in backlog.pieces(s, 1000))
    return piece


def test_each_answer_is_recorded_as_it_was_given(app: Flask, tmp_path: Path) -> None:
    answers = [app.test_client().get(f"/recommend/{user}") for user in (42, 7, 5)]
    piece = recorded(tmp_path)
    assert (piece.head["slot"], piece.head["version_number"]) == ("canary", 3)
    assert [r.user_id for r in piece.records] == [42, 7, 5]
    assert [r.request_id for r in piece.records] == [a.headers["X-Request-Id"] for a in answers]
    assert [bool(r.flags & PERSONAL) for r in piece.records] == [True, True, False]
    for record, answer in zip(piece.records, answers, strict=True):
        numbers = memoryview(record.movies).cast("H").tolist()
        assert [MOVIES[n] for n in numbers] == answer.text.split(",")
        assert 0 < record.took < 10**6


def test_what_is_no_answer_is_not_recorded(app: Flask, tmp_path: Path) -> None:
    app.test_client().get("/recommend/x")
    app.test_client().get("/ready")
    assert not segments(tmp_path / "queue")


def test_a_request_the_edge_asks_again_is_named_so(app: Flask, tmp_path: Path) -> None:
    app.test_client().get("/recommend/42", headers={"X-Marquee-Again": "1"})
    assert recorded(tmp_path).records[0].flags & ASKED_AGAIN


@pytest.mark.parametrize("gone", [True, False])
@pytest.mark.parametrize("age", [0.0, 0.3])
def test_a_late_answer_to_nobody_is_named_so(
    app: Flask, tmp_path: Path, gone: bool, age: float
) -> None:
    ours, theirs = socket.socketpair()
    with ours, theirs:
        if gone:
            theirs.close()
        name = f"{time.time() - age:.3f}-{'0' * 32}"
        app.test_client().get(
            "/recommend/42",
            headers={"X-Request-Id": name},
            environ_overrides={"gunicorn.socket": ours},
        )
    assert bool(recorded(tmp_path).records[0].flags & GIVEN_UP) == (gone and age > 0)


def test_a_connection_that_was_reset_is_gone() -> None:
    with socket.create_server(("127.0.0.1", 0)) as server:
        client = socket.create_connection(server.getsockname())
        ours, _ = server.accept()
        with ours:
            ours.sendall(b"unread")
            client.close()
            time.sleep(0.05)
            assert edge_has_gone({"gunicorn.socket": ours})


def test_a_queue_that_cannot_be_written_costs_no_answer(
    app: Flask, monkeypatch: pytest.MonkeyPatch
) -> None:
    def full(*_: Any) -> int:
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(os, "posix_fallocate", full)
    client = app.test_client()
    assert all(client.get("/recommend/42").status_code == 200 for _ in range(20))
    assert (
        'marquee_provenance_records_dropped_total{reason="failed"} 20.0'
        in client.get("/metrics").text
    )


def test_recording_can_be_turned_off(shared_model: Path, tmp_path: Path) -> None:
    settings = Settings(
        model_dir=shared_model, provenance_enabled=False, spool_dir=tmp_path / "queue"
    )
    assert create_app(settings).test_client().get("/recommend/42").status_code == 200
    assert not (tmp_path / "queue").exists()
