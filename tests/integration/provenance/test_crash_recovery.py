"""Whatever is killed, and whenever: every delivered answer is in the database, and once."""

import os
import random
import signal
import time
from pathlib import Path

import pytest
import requests
import sqlalchemy as sa

from app.provenance.database import connect
from app.settings import Settings
from tests.integration.provenance.client import asking, check_each, shipping, waiting
from tests.integration.service.conftest import free_port, serving
from tests.support.mariadb import Database


def eventually_empty(queue: Path, seconds: float = 30) -> None:
    deadline = time.monotonic() + seconds
    while waiting(queue):
        assert time.monotonic() < deadline, list(queue.iterdir())
        time.sleep(0.2)


def kill_about(model: Path, place: Path, database: dict[str, str], engine: sa.Engine) -> None:
    """Kill workers and the shipper at random moments under load; then compare."""
    chance = random.Random(6)
    queue = {"MARQUEE_SPOOL_DIR": str(place / "queue"), "MARQUEE_LOG_LEVEL": "warning"}
    log = place / "ship.log"
    with serving(model, place, **queue) as service:
        with asking(service.url) as answers:
            for _ in range(8):
                with shipping(log, **queue, **database) as shipper:
                    time.sleep(chance.uniform(0.3, 1.5))
                    victim = chance.choice(service.workers())
                    os.kill(victim, signal.SIGKILL)
                    time.sleep(chance.uniform(0, 0.6))
                    shipper.kill()
        assert len(answers.got) > 300
    with shipping(log, **queue, **database):
        check_each(engine, model, answers)
        eventually_empty(place / "queue")


def test_workers_and_shipper_killed_with_sqlite(shared_model: Path, tmp_path: Path) -> None:
    database = {"MARQUEE_DATABASE": f"sqlite:///{tmp_path}/p.db"}
    engine = connect(Settings(database=database["MARQUEE_DATABASE"]))
    kill_about(shared_model, tmp_path, database, engine)


def test_workers_and_shipper_killed_with_mariadb(
    mariadb: Database, shared_model: Path, tmp_path: Path
) -> None:
    kill_about(shared_model, tmp_path, mariadb.settings(), mariadb.engine())


def test_the_embedded_shipper_outlasts_a_killed_service_and_ends(
    shared_model: Path, tmp_path: Path
) -> None:
    database = f"sqlite:///{tmp_path}/p.db"
    bind = f"127.0.0.1:{free_port()}"
    settings = {
        "MARQUEE_SPOOL_DIR": str(tmp_path / "queue"),
        "MARQUEE_DATABASE": database,
        "MARQUEE_SHIPPER_BIND": bind,
    }
    with serving(shared_model, tmp_path, "--ship", **settings) as service:
        with asking(service.url) as answers:
            time.sleep(1)
        request_id = next(iter(answers.got))
        check_each(connect(Settings(database=database)), shared_model, answers)
        traced = requests.get(f"http://{bind}/trace/{request_id}", timeout=2)
        assert traced.json()["records"][0]["request_id"] == request_id
        assert requests.get(f"http://{bind}/trace/none", timeout=2).status_code == 404
        assert requests.get(f"http://{bind}/health", timeout=2).json() == {"status": "alive"}
        with asking(service.url) as last:
            time.sleep(0.3)
        children = {pid: Path(f"/proc/{pid}/cmdline").read_bytes() for pid in service.workers()}
        service.process.kill()
        for pid in (pid for pid, command in children.items() if b"gunicorn" in command):
            os.kill(pid, signal.SIGKILL)
        check_each(connect(Settings(database=database)), shared_model, last)
    deadline = time.monotonic() + 10
    while time.monotonic() < deadline:
        try:
            requests.get(f"http://{bind}/health", timeout=2)
        except requests.ConnectionError:
            return
        time.sleep(0.1)
    pytest.fail("the shipper goes on without its parent")
