"""What the service writes to the spool; tests/unit/provenance covers the spool itself."""

import errno
import os
import socket
import time
from pathlib import Path
from typing import Any

import pytest
from flask import Flask

from app.provenance.spool_reader import RecordBatch, SpoolReader
from app.provenance.spool_writer import list_segments
from app.service.application import create_app
from app.service.response_recorder import client_disconnected
from app.settings import Settings
from tests.conftest import MOVIES
from tests.support.waiting import eventually


@pytest.fixture
def app(shared_model: Path, tmp_path: Path) -> Flask:
    return create_app(Settings(model_dir=shared_model, slot="canary", spool_dir=tmp_path / "spool"))


def recorded(tmp_path: Path) -> RecordBatch:
    reader = SpoolReader(tmp_path / "spool")
    (batch,) = (b for s in list_segments(reader.directory) for b in reader.read_batches(s, 1000))
    return batch


def test_each_response_is_recorded(app: Flask, tmp_path: Path) -> None:
    responses = [app.test_client().get(f"/recommend/{user}") for user in (42, 7, 5)]
    batch = recorded(tmp_path)
    assert (batch.header.slot, batch.header.version_number) == ("canary", 3)
    assert [r.user_id for r in batch.records] == [42, 7, 5]
    assert [r.request_id for r in batch.records] == [r.headers["X-Request-Id"] for r in responses]
    assert [r.source for r in batch.records] == ["personal", "personal", "popular"]
    for record, response in zip(batch.records, responses, strict=True):
        numbers = memoryview(record.movie_numbers).cast("H").tolist()
        assert [MOVIES[n] for n in numbers] == response.text.split(",")
        assert 0 < record.duration_us < 10**6


def test_errors_and_probes_are_not_recorded(app: Flask, tmp_path: Path) -> None:
    app.test_client().get("/recommend/x")
    app.test_client().get("/ready")
    assert not list_segments(tmp_path / "spool")


def test_a_retry_of_the_edge_is_flagged(app: Flask, tmp_path: Path) -> None:
    app.test_client().get("/recommend/42", headers={"X-Marquee-Retry": "1"})
    assert recorded(tmp_path).records[0].is_retry


@pytest.mark.parametrize("gone", [True, False])
@pytest.mark.parametrize("age", [0.0, 0.3])
def test_a_late_response_to_a_disconnected_client_is_flagged(
    app: Flask, tmp_path: Path, gone: bool, age: float
) -> None:
    server_side, client_side = socket.socketpair()
    with server_side, client_side:
        if gone:
            client_side.close()
        request_id = f"{time.time() - age:.3f}-{'0' * 32}"
        app.test_client().get(
            "/recommend/42",
            headers={"X-Request-Id": request_id},
            environ_overrides={"gunicorn.socket": server_side},
        )
    assert recorded(tmp_path).records[0].client_gone == (gone and age > 0)


def test_a_reset_connection_is_disconnected() -> None:
    with socket.create_server(("127.0.0.1", 0)) as server:
        client = socket.create_connection(server.getsockname())
        server_side, _ = server.accept()
        with server_side:
            server_side.sendall(b"unread")
            client.close()
            eventually(lambda: client_disconnected({"gunicorn.socket": server_side}), 60)


def test_a_spool_that_cannot_be_written_fails_no_request(
    app: Flask, monkeypatch: pytest.MonkeyPatch
) -> None:
    def full(*_: Any) -> int:
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(os, "posix_fallocate", full)
    client = app.test_client()
    assert all(client.get("/recommend/42").status_code == 200 for _ in range(20))
    assert (
        'marquee_provenance_records_dropped_total{reason="write_failed"} 20.0'
        in client.get("/metrics").text
    )


def test_recording_can_be_disabled(shared_model: Path, tmp_path: Path) -> None:
    settings = Settings(
        model_dir=shared_model, provenance_enabled=False, spool_dir=tmp_path / "spool"
    )
    assert create_app(settings).test_client().get("/recommend/42").status_code == 200
    assert not (tmp_path / "spool").exists()
