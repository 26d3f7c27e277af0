"""Processes killed at random: every delivered response is in the database exactly once."""

import os
import random
import signal
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import requests
import sqlalchemy as sa

from app.provenance.database import connect
from app.settings import Settings
from tests.integration.provenance.clients import check_records, running_shipper, sending_requests
from tests.support.mariadb import Database
from tests.support.service import free_port, serving
from tests.support.soak import IS_SOAK
from tests.support.waiting import eventually

#: Rounds of killing a worker and the shipper.
KILLS = 20 if IS_SOAK else 4


def wait_until_empty(spool: Path) -> None:
    """Wait until no segment and no description of an instance is left."""

    def left() -> list[Path]:
        return [*spool.glob("[!.]*.segment"), *spool.glob("[!.]*.info.json")]

    eventually(lambda: not left(), 60, left)


def kill_under_load(
    model: Path, directory: Path, database: dict[str, str], engine: sa.Engine
) -> None:
    """Kill workers and the shipper at random times under load; then check every record."""
    rng = random.Random(6)
    spool = {"MARQUEE_SPOOL_DIR": str(directory / "spool"), "MARQUEE_LOG_LEVEL": "warning"}
    log = directory / "ship.log"
    with (
        serving(model, directory, **spool) as service,
        sending_requests(service.url) as responses,
    ):
        for _ in range(KILLS):
            with running_shipper(log, **spool, **database) as shipper:
                responses.wait_for(rng.randrange(100, 600))
                os.kill(rng.choice(service.workers()), signal.SIGKILL)
                responses.wait_for(rng.randrange(100))
                shipper.kill()
    with running_shipper(log, **spool, **database):
        check_records(engine, model, responses)
        wait_until_empty(directory / "spool")


def test_no_record_is_lost_with_sqlite_when_workers_and_shipper_are_killed(
    shared_model: Path, tmp_path: Path
) -> None:
    database = {"MARQUEE_DATABASE": f"sqlite:///{tmp_path}/p.db"}
    engine = connect(Settings(database=database["MARQUEE_DATABASE"]))
    kill_under_load(shared_model, tmp_path, database, engine)


def test_no_record_is_lost_with_mariadb_when_workers_and_shipper_are_killed(
    mariadb: Database, shared_model: Path, tmp_path: Path
) -> None:
    kill_under_load(shared_model, tmp_path, mariadb.settings(), mariadb.engine())


@contextmanager
def two_shippers(directory: Path) -> Iterator[tuple[subprocess.Popen[bytes], ...]]:
    """Run two shippers of one spool; the second, with its log in `second.log`, waits."""
    settings = {
        "MARQUEE_SPOOL_DIR": str(directory / "spool"),
        "MARQUEE_DATABASE": f"sqlite:///{directory}/p.db",
        "MARQUEE_SHIPPER_BIND": f"127.0.0.1:{free_port()}",
    }
    first_log, second_log = directory / "first.log", directory / "second.log"
    with running_shipper(first_log, **settings) as first:
        wait_for_line(first_log, "shipper started")
        with running_shipper(second_log, **settings) as second:
            wait_for_line(second_log, "waiting for another shipper")
            yield first, second


def test_a_second_shipper_waits_for_the_first(tmp_path: Path) -> None:
    with two_shippers(tmp_path) as (first, _):
        first.kill()
        wait_for_line(tmp_path / "second.log", "shipper started")


def test_a_waiting_shipper_ends_at_sigterm(tmp_path: Path) -> None:
    with two_shippers(tmp_path) as (first, second):
        second.terminate()
        assert second.wait(60) == 0
        assert first.poll() is None


def wait_for_line(log: Path, text: str) -> None:
    eventually(lambda: text in log.read_text(), 60, log.read_text)


def test_the_embedded_shipper_outlives_a_killed_service_and_exits(
    shared_model: Path, tmp_path: Path
) -> None:
    database = f"sqlite:///{tmp_path}/p.db"
    bind = f"127.0.0.1:{free_port()}"
    settings = {
        "MARQUEE_SPOOL_DIR": str(tmp_path / "spool"),
        "MARQUEE_DATABASE": database,
        "MARQUEE_SHIPPER_BIND": bind,
    }
    with serving(shared_model, tmp_path, "--ship", **settings) as service:
        with sending_requests(service.url) as responses:
            responses.wait_for(50)
        request_id = next(iter(responses.received))
        check_records(connect(Settings(database=database)), shared_model, responses)
        traced = requests.get(f"http://{bind}/trace/{request_id}", timeout=2)
        assert traced.json()["records"][0]["request_id"] == request_id
        unknown = f"{request_id[:-8]}{int(request_id[-8:], 16) ^ 1:08x}"
        assert requests.get(f"http://{bind}/trace/{unknown}", timeout=2).status_code == 404
        assert requests.get(f"http://{bind}/health", timeout=2).json() == {"status": "alive"}
        with sending_requests(service.url) as last:
            last.wait_for(20)
        children = {pid: Path(f"/proc/{pid}/cmdline").read_bytes() for pid in service.workers()}
        service.process.kill()
        for pid in (pid for pid, command in children.items() if b"gunicorn" in command):
            os.kill(pid, signal.SIGKILL)
        check_records(connect(Settings(database=database)), shared_model, last)
    eventually(lambda: not is_healthy(bind), 60, "the shipper ends without its parent")


def is_healthy(bind: str) -> bool:
    try:
        return requests.get(f"http://{bind}/health", timeout=2).ok
    except requests.RequestException:
        return False
