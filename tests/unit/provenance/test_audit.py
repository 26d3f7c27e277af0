"""The audit of the console's orders in the database."""

import json
from pathlib import Path
from threading import Event
from typing import Any

import pytest
import sqlalchemy as sa
from click.testing import CliRunner
from structlog.testing import capture_logs

from app.cli import marquee
from app.order_audit import AUDIT_FILE, AuditEntry, append_order, append_outcome
from app.orders import Order
from app.provenance.audit import AuditCopier, read_audit
from app.provenance.shipper import Shipper
from app.provenance.shipper_metrics import ShipperMetrics
from app.provenance.spool_reader import SpoolReader
from app.provenance.tables import audit
from tests.support.provenance import Environment, encoded

ORDER = Order("1795780800000000001", "abort", "R1", "Ada in the console: complaints", 1_795_780_920)


@pytest.fixture
def engine(environment: Environment) -> sa.Engine:
    return environment.engine()


def give(directory: Path, number: int = 1) -> Order:
    order = Order(str(int(ORDER.id) - 1 + number), *list(vars(ORDER).values())[1:])
    append_order(directory, order, 1_795_780_800.5 + number, "192.0.2.7")
    return order


def outcomes(engine: sa.Engine) -> list[tuple[str, str]]:
    return [(row["order_id"][-1], row["outcome"]) for row in read_audit(engine, 100)][::-1]


def test_an_order_and_its_outcome_are_rows_once(engine: sa.Engine, tmp_path: Path) -> None:
    copier = AuditCopier(tmp_path)
    copier.copy(engine)  # there is no file yet
    order = give(tmp_path)
    copier.copy(engine)
    assert read_audit(engine, 1) == [
        {
            "recorded_at": "2026-11-27T12:00:01+00:00",
            "order_id": order.id,
            "outcome": "given",
            "action": "abort",
            "release_id": "R1",
            "detail": "Ada in the console: complaints",
            "address": "192.0.2.7",
        }
    ]
    entry = AuditEntry(order.id, "done", 1_795_780_900, "abort", "R1", "aborted")
    append_outcome(tmp_path, entry)
    for again in (copier, AuditCopier(tmp_path)):  # also after a restart
        again.copy(engine)
        assert outcomes(engine) == [("1", "given"), ("1", "done")]
    assert len(read_audit(engine, 1)) == 1


def test_an_unfinished_line_waits_and_what_is_no_entry_is_left_out(
    engine: sa.Engine, tmp_path: Path
) -> None:
    file, copier = tmp_path / AUDIT_FILE, AuditCopier(tmp_path)
    give(tmp_path)
    line = file.read_bytes()
    half = {"id": "1" * 19, "reason": "\ud800" + "x" * 5000, "time": 1e300, "action": ["\n"]}
    file.write_bytes(b"damaged\n[]\n{}\n" + json.dumps({"id": 7}).encode() + b"\n" + line[:50])
    copier.copy(engine)
    assert outcomes(engine) == []
    file.write_bytes(file.read_bytes() + line[50:] + json.dumps(half).encode() + b"\n")
    copier.copy(engine)
    rows = {row["order_id"]: row for row in read_audit(engine, 10)}
    assert set(rows) == {ORDER.id, "1" * 19}  # an old line, without an outcome
    assert rows["1" * 19]["detail"] == "?" + "x" * 1999


def test_a_long_audit_is_copied_in_parts(
    engine: sa.Engine, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for number in range(1, 8):
        give(tmp_path, number)
    monkeypatch.setattr("app.provenance.audit._BATCH_ROWS", 3)
    AuditCopier(tmp_path).copy(engine)
    assert [number for number, _ in outcomes(engine)] == list("1234567")


def test_a_file_that_was_replaced_is_read_from_its_start(engine: sa.Engine, tmp_path: Path) -> None:
    copier = AuditCopier(tmp_path)
    give(tmp_path)
    copier.copy(engine)
    (tmp_path / AUDIT_FILE).unlink()
    give(tmp_path, 2)
    copier.copy(engine)
    assert outcomes(engine) == [("1", "given"), ("2", "given")]


def test_an_audit_that_cannot_be_read_is_logged_once_and_stops_no_records(
    engine: sa.Engine, tmp_path: Path
) -> None:
    directory = tmp_path / AUDIT_FILE
    directory.mkdir()
    copier = AuditCopier(tmp_path)
    with capture_logs() as logged:
        for _ in range(3):
            copier.copy(engine)
    assert [line["event"] for line in logged] == ["the audit of orders cannot be copied"]
    directory.rmdir()
    give(tmp_path)
    copier.copy(engine)
    assert outcomes(engine) == [("1", "given")]


def test_what_the_database_refuses_is_copied_later_and_delays_no_records(
    environment: Environment, engine: sa.Engine, tmp_path: Path
) -> None:
    reader, stop = SpoolReader(environment.spool), Event()
    shipper = Shipper(reader, engine, ShipperMetrics(reader), 36_500, AuditCopier(tmp_path))
    give(tmp_path)
    audit.drop(engine)
    stop.set()  # it ships once, and tries again only after a failure
    with capture_logs() as logged:
        for number in range(2):
            environment.writer(f"slot-{number}").append(encoded(number))
            shipper.run(stop)
            with engine.connect() as connection:
                assert connection.scalar(sa.text("select count(*) from reccom")) == number + 1
    refused = [line for line in logged if line["log_level"] == "error"]
    assert [line["event"] for line in refused] == ["the audit of orders cannot be copied"]
    audit.create(engine)
    shipper.run(stop)
    assert outcomes(engine) == [("1", "given")]


def test_the_command_prints_the_newest_rows(engine: sa.Engine, tmp_path: Path) -> None:
    give(tmp_path, 1)
    order = give(tmp_path, 2)
    entry = AuditEntry(order.id, "refused", 1_795_781_000, "abort", "R1", "too late\n\x1b[31m")
    append_outcome(tmp_path, entry)
    AuditCopier(tmp_path).copy(engine)

    def run(*arguments: str, database: str = str(engine.url)) -> Any:
        variables = {"MARQUEE_DATABASE": database, "MARQUEE_LOG_LEVEL": "error"}
        return CliRunner().invoke(marquee, ["audit", *arguments], env=variables)

    printed = run("--last", "2").output.splitlines()
    assert printed == [
        "2026-11-27T12:03:20+00:00  refused   abort R1: too late \\x1b[31m",
        "2026-11-27T12:00:02+00:00  given     abort R1: Ada in the console: complaints"
        " (from 192.0.2.7)",
    ]
    assert [json.loads(line)["outcome"] for line in run("--json").output.splitlines()] == [
        "refused", "given", "given",
    ]  # fmt: skip
    assert run(database=f"sqlite:///{tmp_path}/without-tables.db").exit_code == 1
