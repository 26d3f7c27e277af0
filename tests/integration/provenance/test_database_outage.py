"""A database that is stopped, slow, read-only or full: no request fails, no record is lost."""

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

from tests.integration.provenance.clients import check_records, running_shipper, sending_requests
from tests.integration.provenance.conftest import read_log
from tests.support.mariadb import Database, running_database, skip_reason
from tests.support.service import Server, free_port, serving
from tests.support.soak import IS_SOAK
from tests.support.waiting import eventually

#: Records that wait in the spool before the database is started again.
BACKLOG = 5000 if IS_SOAK else 300
FAILURES = 'marquee_shipper_failures_total{failed="database"'
SPOOLED = "marquee_provenance_spool_records "
SHIPPED = "marquee_provenance_records_written_total"


def metric(bind: str, name: str) -> float:
    text = requests.get(f"http://{bind}/metrics", timeout=2).text
    return sum(float(x.rsplit(" ", 1)[1]) for x in text.splitlines() if x.startswith(name))


class Environment:
    """A service, its database, and the settings of a shipper between them."""

    def __init__(self, service: Server, directory: Path, database: Database) -> None:
        self.service, self.database = service, database
        self.bind = f"127.0.0.1:{free_port()}"
        self.log = directory / "ship.log"
        self.shipper = {
            **database.settings(),
            "MARQUEE_SPOOL_DIR": str(directory / "spool"),
            "MARQUEE_SHIPPER_BIND": self.bind,
        }

    def metric(self, name: str) -> float:
        """Return a metric of the shipper; 0 while it starts."""
        try:
            return metric(self.bind, name)
        except requests.RequestException:
            return 0

    def wait_for_metric(self, name: str, at_least: float) -> None:
        """Wait until a metric of the shipper has at least this value."""
        eventually(lambda: self.metric(name) >= at_least, 120, lambda: (name, self.log.read_text()))

    def errors(self) -> list[str]:
        return [str(line["error"]) for line in read_log(self.log) if "error" in line]


@pytest.fixture
def environment(mariadb: Database, shared_model: Path, tmp_path: Path) -> Iterator[Environment]:
    with serving(shared_model, tmp_path, MARQUEE_SPOOL_DIR=str(tmp_path / "spool")) as service:
        yield Environment(service, tmp_path, mariadb)


def test_no_request_fails_and_no_record_is_lost_while_the_database_is_stopped(
    environment: Environment, shared_model: Path
) -> None:
    database = environment.database
    database.stop()  # also before the first request
    with (
        running_shipper(environment.log, **environment.shipper),
        sending_requests(environment.service.url) as responses,
    ):
        environment.wait_for_metric(FAILURES, 1)
        environment.wait_for_metric(SPOOLED, 100)
        environment.wait_for_metric("marquee_provenance_spool_oldest_seconds ", 1)
        database.start()
        environment.wait_for_metric(SHIPPED, 100)
        database.stop()
        failures = environment.metric(FAILURES)
        environment.wait_for_metric(FAILURES, failures + 1)
        environment.wait_for_metric(SPOOLED, BACKLOG)
        database.start()
    with running_shipper(environment.log, **environment.shipper):
        check_records(database.engine(), shared_model, responses)
    assert not responses.failed
    assert any("Can't connect" in error for error in environment.errors())


@contextmanager
def slow_proxy(port: int, delay_seconds: float) -> Iterator[int]:
    """A port that forwards to `port`, each packet to it with a delay."""

    def forward(source: socket.socket, target: socket.socket, wait: float) -> None:
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
            for ends in ((client, server, delay_seconds), (server, client, 0.0)):
                threading.Thread(target=forward, args=ends, daemon=True).start()

    with socket.create_server(("127.0.0.1", 0)) as listener:
        threading.Thread(target=accept, args=(listener,), daemon=True).start()
        yield listener.getsockname()[1]
        listener.shutdown(socket.SHUT_RDWR)


def test_no_request_fails_and_no_record_is_lost_with_a_slow_database(
    environment: Environment, shared_model: Path
) -> None:
    with slow_proxy(environment.database.port, 0.2) as port:
        slow = f"mysql+mysqlconnector://marquee@127.0.0.1:{port}/marquee"
        settings = {**environment.shipper, "MARQUEE_DATABASE": slow}
        with (
            running_shipper(environment.log, **settings),
            sending_requests(environment.service.url) as responses,
        ):
            environment.wait_for_metric(SHIPPED, 1)
            responses.wait_for(300)
        with running_shipper(environment.log, **settings):
            check_records(environment.database.engine(), shared_model, responses)
    assert not responses.failed


@pytest.mark.parametrize(
    ("break_it", "repair_it", "message"),
    [
        (
            "alter table reccom rename to hidden",
            "alter table hidden rename to reccom",
            "doesn't exist",
        ),
        ("set global read_only = 1", "set global read_only = 0", "read-only"),
        (
            "alter user marquee@'%' identified by 'another'",
            "set password for marquee@'%' = password('{password}')",
            "Access denied",
        ),
    ],
)
def test_a_database_that_refuses_records_is_reported_and_retried(
    environment: Environment, shared_model: Path, break_it: str, repair_it: str, message: str
) -> None:
    database = environment.database
    password = (database.passwords / "database_password").read_text()
    database.query(break_it)
    try:
        with (
            running_shipper(environment.log, **environment.shipper),
            sending_requests(environment.service.url) as responses,
        ):
            environment.wait_for_metric(FAILURES, 2)
    finally:
        database.query(repair_it.format(password=password))
    assert any(message in error for error in environment.errors()), environment.log.read_text()
    assert not responses.failed
    with running_shipper(environment.log, **environment.shipper):
        check_records(database.engine(), shared_model, responses)


@contextmanager
def small_disk(directory: Path, size: str) -> Iterator[Path]:
    """A small file system in memory; skips the test where none can be mounted."""
    if os.geteuid() != 0:
        pytest.skip("mounting a small disk needs root")
    directory.mkdir()
    mount = ["mount", "-t", "tmpfs", "-o", f"size={size}", "tmpfs", str(directory)]
    if subprocess.run(mount, capture_output=True, check=False).returncode != 0:
        pytest.skip("cannot mount a tmpfs")
    try:
        yield directory
    finally:
        subprocess.run(["umount", "--lazy", str(directory)], check=True)


def test_a_full_disk_of_the_spool_fails_no_request_and_is_reported(
    shared_model: Path, tmp_path: Path
) -> None:
    with (
        small_disk(tmp_path / "disk", "128k") as disk,
        serving(shared_model, tmp_path, MARQUEE_SPOOL_DIR=str(disk / "spool")) as service,
    ):
        with sending_requests(service.url, pause_seconds=0) as responses:
            eventually(
                lambda: "cannot write to the spool" in service.log.read_text(),
                60,
                service.log.read_text,
            )
        assert not responses.failed
        dropped = metric(
            f"127.0.0.1:{service.port}",
            'marquee_provenance_records_dropped_total{reason="write_failed"}',
        )
        assert dropped > 0
        assert "No space left" in service.log.read_text()


def test_no_request_fails_and_no_record_is_lost_with_a_full_disk_of_the_database(
    shared_model: Path, tmp_path: Path
) -> None:
    if reason := skip_reason():
        pytest.skip(f"a real MariaDB: {reason}")
    (tmp_path / "database").mkdir()
    small = ("--innodb-log-file-size=8M", "--innodb-temp-data-file-path=ibtmp1:2M:autoextend")
    spool = {"MARQUEE_SPOOL_DIR": str(tmp_path / "spool")}
    with small_disk(tmp_path / "disk", "400m") as disk:
        os.chown(disk, 999, 999)
        with (
            running_database(tmp_path / "database", *small, data=disk) as database,
            serving(shared_model, tmp_path, **spool) as service,
        ):
            environment = Environment(service, tmp_path, database)
            filler = disk / "filler"
            with contextlib.suppress(OSError), filler.open("wb", buffering=0) as rest:
                while True:
                    rest.write(b"0" * 4096)
            with (
                running_shipper(environment.log, **environment.shipper),
                sending_requests(service.url, pause_seconds=0) as responses,
            ):
                environment.wait_for_metric(FAILURES, 1)
            assert any("full" in error for error in environment.errors()), (
                environment.log.read_text()
            )
            assert not responses.failed
            filler.unlink()
            with running_shipper(environment.log, **environment.shipper):
                check_records(database.engine(), shared_model, responses)
