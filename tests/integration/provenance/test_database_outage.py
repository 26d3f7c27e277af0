"""A database that is away, slow, refuses or is full: answers go on, and nothing is lost."""

import contextlib
import os
import socket
import subprocess
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
import requests

from tests.integration.provenance.client import asking, check_each, shipping
from tests.integration.provenance.conftest import lines_of
from tests.integration.service.conftest import Server, free_port, serving
from tests.support.mariadb import Database, running, why_not

AWAY = float(os.environ.get("MARQUEE_AWAY_SECONDS", "10"))


def metric(bind: str, name: str) -> float:
    text = requests.get(f"http://{bind}/metrics", timeout=2).text
    return sum(float(x.rsplit(" ", 1)[1]) for x in text.splitlines() if x.startswith(name))


class Setting:
    """A service and what its shipper needs."""

    def __init__(self, service: Server, place: Path, database: Database) -> None:
        self.service, self.place, self.database = service, place, database
        self.bind = f"127.0.0.1:{free_port()}"
        self.log = place / "ship.log"
        self.shipper = {
            **database.settings(),
            "MARQUEE_SPOOL_DIR": str(place / "queue"),
            "MARQUEE_SHIPPER_BIND": self.bind,
        }

    def eventually(self, name: str, at_least: float) -> None:
        """Wait until a metric of the shipper is so high."""
        deadline = time.monotonic() + 30
        while True:
            with contextlib.suppress(requests.ConnectionError):
                if metric(self.bind, name) >= at_least:
                    return
            assert time.monotonic() < deadline, (name, self.log.read_text())
            time.sleep(0.2)

    def errors(self) -> list[str]:
        return [str(x["why"]) for x in lines_of(self.log) if x["level"] == "error" and "why" in x]


@pytest.fixture
def setting(mariadb: Database, shared_model: Path, tmp_path: Path) -> Iterator[Setting]:
    with serving(shared_model, tmp_path, MARQUEE_SPOOL_DIR=str(tmp_path / "queue")) as service:
        yield Setting(service, tmp_path, mariadb)


def test_a_stopped_database_costs_no_answer_and_no_record(
    setting: Setting, shared_model: Path
) -> None:
    database = setting.database
    database.stop()  # also before the first answer
    with shipping(setting.log, **setting.shipper), asking(setting.service.url) as answers:
        time.sleep(AWAY / 3)
        setting.eventually('marquee_shipper_failures_total{failed="database"', 1)
        setting.eventually("marquee_provenance_spool_records ", 100)
        assert metric(setting.bind, "marquee_provenance_spool_oldest_seconds ") > 1
        database.start()
        time.sleep(3)
        database.stop()
        time.sleep(AWAY)
        database.start()
    with shipping(setting.log, **setting.shipper):
        check_each(database.engine(), shared_model, answers)
    assert not answers.failed
    assert any("Can't connect" in why for why in setting.errors())


@contextmanager
def slow_way_to(port: int, seconds: float) -> Iterator[int]:
    """A port through which every packet to the server takes a while."""

    def carry(source: socket.socket, target: socket.socket, wait: float) -> None:
        try:
            while data := source.recv(1 << 16):
                time.sleep(wait)
                target.sendall(data)
        except OSError:
            pass
        target.close()

    def accept(listener: socket.socket) -> None:
        while True:
            try:
                client, _ = listener.accept()
            except OSError:
                return
            server = socket.create_connection(("127.0.0.1", port))
            for ends in ((client, server, seconds), (server, client, 0.0)):
                threading.Thread(target=carry, args=ends, daemon=True).start()

    with socket.create_server(("127.0.0.1", 0)) as listener:
        threading.Thread(target=accept, args=(listener,), daemon=True).start()
        yield listener.getsockname()[1]
        listener.shutdown(socket.SHUT_RDWR)


def test_a_slow_database_costs_no_answer_and_no_record(
    setting: Setting, shared_model: Path
) -> None:
    with slow_way_to(setting.database.port, 0.5) as port:
        slow = f"mysql+mysqlconnector://marquee@127.0.0.1:{port}/marquee"
        settings = {**setting.shipper, "MARQUEE_DATABASE": slow}
        with shipping(setting.log, **settings), asking(setting.service.url) as answers:
            time.sleep(8)
        with shipping(setting.log, **settings):
            check_each(setting.database.engine(), shared_model, answers)
    assert not answers.failed


@pytest.mark.parametrize(
    ("broken", "mended", "said"),
    [
        ("alter table reccom rename to away", "alter table away rename to reccom", "doesn't exist"),
        ("set global read_only = 1", "set global read_only = 0", "read-only"),
        (
            "alter user marquee@'%' identified by 'another'",
            "set password for marquee@'%' = password('{password}')",
            "Access denied",
        ),
    ],
)
def test_a_database_that_refuses_is_told_and_tried_again(
    setting: Setting, shared_model: Path, broken: str, mended: str, said: str
) -> None:
    database = setting.database
    password = (database.passwords / "database_password").read_text()
    database.query(broken)
    try:
        with shipping(setting.log, **setting.shipper), asking(setting.service.url) as answers:
            setting.eventually('marquee_shipper_failures_total{failed="database"', 2)
    finally:
        database.query(mended.format(password=password))
    assert any(said in why for why in setting.errors()), setting.log.read_text()
    assert not answers.failed
    with shipping(setting.log, **setting.shipper):
        check_each(database.engine(), shared_model, answers)


@contextmanager
def small_disk(place: Path, size: str) -> Iterator[Path]:
    """A disk of its own; skips the test where none can be mounted."""
    if os.geteuid() != 0:
        pytest.skip("mounting a small disk needs root")
    place.mkdir()
    mount = ["mount", "-t", "tmpfs", "-o", f"size={size}", "tmpfs", str(place)]
    if subprocess.run(mount, capture_output=True, check=False).returncode != 0:
        pytest.skip("nothing can be mounted here")
    try:
        yield place
    finally:
        subprocess.run(["umount", "--lazy", str(place)], check=True)


def test_a_full_disk_of_the_queue_costs_no_answer_and_is_told(
    shared_model: Path, tmp_path: Path
) -> None:
    with (
        small_disk(tmp_path / "disk", "128k") as disk,
        serving(shared_model, tmp_path, MARQUEE_SPOOL_DIR=str(disk / "queue")) as service,
    ):
        with asking(service.url, pause=0) as answers:
            deadline = time.monotonic() + 20
            while "answers are not recorded" not in service.log.read_text():
                assert time.monotonic() < deadline
                time.sleep(0.1)
        assert not answers.failed
        lost = metric(
            f"127.0.0.1:{service.port}", 'marquee_provenance_records_dropped_total{reason="failed"}'
        )
        assert lost > 0
        assert "No space left" in service.log.read_text()


def test_a_full_disk_of_the_database_costs_no_answer_and_no_record(
    shared_model: Path, tmp_path: Path
) -> None:
    if reason := why_not():
        pytest.skip(f"a real MariaDB: {reason}")
    (tmp_path / "database").mkdir()
    small = ("--innodb-log-file-size=8M", "--innodb-temp-data-file-path=ibtmp1:2M:autoextend")
    queue = {"MARQUEE_SPOOL_DIR": str(tmp_path / "queue")}
    with small_disk(tmp_path / "disk", "400m") as disk:
        os.chown(disk, 999, 999)
        with (
            running(tmp_path / "database", *small, data=disk) as database,
            serving(shared_model, tmp_path, **queue) as service,
        ):
            setting = Setting(service, tmp_path, database)
            filler = disk / "filler"
            with contextlib.suppress(OSError), filler.open("wb", buffering=0) as rest:
                while True:
                    rest.write(b"0" * 4096)
            with (
                shipping(setting.log, **setting.shipper),
                asking(service.url, pause=0) as answers,
            ):
                setting.eventually('marquee_shipper_failures_total{failed="database"', 1)
            assert any("full" in why for why in setting.errors()), setting.log.read_text()
            assert not answers.failed
            filler.unlink()
            with shipping(setting.log, **setting.shipper):
                check_each(database.engine(), shared_model, answers)
