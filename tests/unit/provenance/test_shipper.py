import threading
from concurrent.futures import ThreadPoolExecutor
from threading import Event, Semaphore
from typing import Any

import pytest
import sqlalchemy as sa

from app.provenance.database import connect, enforce_retention
from app.provenance.lineage import Lineage
from app.provenance.quarantine import DIRECTORY
from app.provenance.record_format import decode_info, encode_info
from app.provenance.shipper import MAX_TRACES, Shipper, create_app
from app.provenance.shipper_metrics import ShipperMetrics
from app.provenance.spool_reader import SpoolReader
from app.provenance.spool_size import SpoolSize
from app.provenance.spool_writer import list_segments
from app.provenance.tables import US_PER_DAY, build, catalogue, reccom, tracking
from tests.support.provenance import (
    JOIN,
    NOW_US,
    RANDOM_PART,
    Environment,
    encoded,
    make_record,
)
from tests.support.waiting import eventually


def rows(engine: sa.Engine, table: sa.Table) -> list[dict[str, Any]]:
    with engine.connect() as connection:
        return [dict(row) for row in connection.execute(sa.select(table)).mappings()]


def metric(shipper: Shipper, name: str, **labels: str) -> float | None:
    return shipper._metrics.registry.get_sample_value(name, labels)


def test_every_record_is_shipped_once_and_the_spool_is_empty(environment: Environment) -> None:
    writer = environment.writer()
    for number in range(5000):
        writer.append(encoded(number))
    writer.close()
    engine = environment.engine()
    assert environment.shipper(engine).ship() == 5000
    assert environment.shipper(engine).ship() == 0
    found = rows(engine, reccom)
    assert len({row["request_id"] for row in found}) == 5000
    assert found[0]["slot"] == "stable-1"
    assert found[0]["version_number"] == 3
    assert not list_segments(environment.spool)


def test_a_row_has_every_field_of_its_record(environment: Environment) -> None:
    environment.writer().append(encoded(5, client_gone=True, recent_events=b"\1\2"))
    engine = environment.engine()
    environment.shipper(engine).ship()
    (row,) = rows(engine, reccom)
    record = make_record(5, client_gone=True, recent_events=b"\1\2")
    assert {name: row[name] for name in record._fields} == record._asdict()
    assert row["day"] == NOW_US // 86_400_000_000


def test_the_instance_is_described_before_its_records(environment: Environment) -> None:
    environment.writer().write_instance_info()
    engine = environment.engine()
    environment.shipper(engine).ship()
    assert [row["version_number"] for row in rows(engine, tracking)] == [3]
    assert [row["build_id"][:8] for row in rows(engine, build)] == ["unknown-"]
    assert [row["movie_count"] for row in rows(engine, catalogue)] == [60]
    assert not list(environment.spool.glob("*.info.json"))


def test_reccom_can_be_joined_with_tracking(environment: Environment) -> None:
    environment.writer().append(encoded())
    engine = environment.engine()
    environment.shipper(engine).ship()
    with engine.connect() as connection:
        assert [tuple(row)[:2] for row in connection.execute(sa.text(JOIN))] == [(3, 42)]


def test_a_record_that_is_sent_twice_is_one_row(environment: Environment) -> None:
    writer = environment.writer()
    writer.append(encoded())
    engine = environment.engine()
    environment.shipper(engine).ship()
    (environment.spool / "offsets.json").unlink()
    writer.append(encoded(1))
    assert environment.shipper(engine).ship() == 2
    assert len(rows(engine, reccom)) == 2


def test_damaged_offsets_make_records_be_sent_again(environment: Environment) -> None:
    environment.writer().append(encoded())
    engine = environment.engine()
    environment.shipper(engine).ship()
    (environment.spool / "offsets.json").write_text("{torn")
    environment.shipper(engine).ship()
    assert len(rows(engine, reccom)) == 1


def test_one_request_has_a_row_for_each_slot_that_answered(environment: Environment) -> None:
    for slot, client_gone in (("canary", True), ("stable-1", False)):
        environment.writer(slot).append(encoded(client_gone=client_gone))
    engine = environment.engine()
    environment.shipper(engine).ship()
    assert {(row["slot"], row["client_gone"]) for row in rows(engine, reccom)} == {
        ("canary", True),
        ("stable-1", False),
    }


def test_a_segment_in_use_is_shipped_and_kept(environment: Environment) -> None:
    writer = environment.writer()
    shipper = environment.shipper(environment.engine())
    for number in range(3):
        writer.append(encoded(number))
        assert shipper.ship() == 1
    assert len(list_segments(environment.spool)) == 1


def test_a_torn_record_is_counted_once_its_writer_has_ended(environment: Environment) -> None:
    writer = environment.writer()
    writer.append(encoded())
    writer.append(encoded(1)[:40])
    shipper = environment.shipper(environment.engine())
    assert shipper.ship() == 1
    assert len(list_segments(environment.spool)) == 1
    writer.close()
    assert shipper.ship() == 0
    assert not list_segments(environment.spool)
    assert metric(shipper, "marquee_provenance_records_torn") == 1


def test_a_copy_of_a_damaged_segment_is_kept(environment: Environment) -> None:
    writer = environment.writer()
    for number in range(200):
        writer.append(encoded(number))
    writer.close()
    (segment,) = list_segments(environment.spool)
    data = bytearray(segment.read_bytes())
    data[len(data) // 2] ^= 255
    segment.write_bytes(data)
    assert 90 < environment.shipper(environment.engine()).ship() < 110
    assert not list_segments(environment.spool)
    assert len(list((environment.spool / DIRECTORY).iterdir())) == 1


@pytest.mark.parametrize("name", ["1-x-1.segment", "x.info.json"])
def test_a_file_that_cannot_be_read_is_moved(environment: Environment, name: str) -> None:
    environment.spool.mkdir(parents=True)
    (environment.spool / name).write_bytes(b"\0\1\2")
    environment.shipper(environment.engine()).ship()
    assert [path.name for path in environment.spool.iterdir()] == [DIRECTORY]
    assert [path.name for path in (environment.spool / DIRECTORY).iterdir()] == [name]


def test_another_model_with_the_same_version_number_is_counted(environment: Environment) -> None:
    environment.writer().write_instance_info()
    engine = environment.engine()
    environment.shipper(engine).ship()
    environment.writer().write_instance_info()
    (path,) = environment.spool.glob("*.info.json")
    info = decode_info(path.read_bytes())
    info["tracking"]["model_hash"] = "f" * 64
    path.write_bytes(encode_info(info))
    shipper = environment.shipper(engine)
    shipper.ship()
    assert metric(shipper, "marquee_provenance_version_conflicts_total") == 1


def test_records_stay_in_the_spool_until_the_database_has_tables(environment: Environment) -> None:
    environment.writer().append(encoded())
    engine = connect(environment.settings)
    shipper = environment.shipper(engine)
    with pytest.raises(sa.exc.OperationalError):
        shipper.run_once()
    assert len(list_segments(environment.spool)) == 1
    environment.engine()
    shipper.run_once()
    assert len(rows(engine, reccom)) == 1


def test_a_failed_attempt_is_counted_and_retried(environment: Environment) -> None:
    environment.writer().append(encoded())
    engine = connect(environment.settings)
    shipper = environment.shipper(engine)
    stop = threading.Event()
    thread = threading.Thread(target=shipper.run, args=(stop,))
    thread.start()
    try:
        failures = "marquee_shipper_failures_total"
        eventually(lambda: (metric(shipper, failures, failed="database") or 0) > 0, 60)
        environment.engine()
        eventually(lambda: len(rows(engine, reccom)) == 1, 60)
    finally:
        stop.set()
        thread.join()
    assert metric(shipper, failures, failed="spool") == 0


def rename(engine: sa.Engine, old: str, new: str) -> None:
    with engine.begin() as connection:
        connection.execute(sa.text(f"alter table {old} rename to {new}"))


def test_records_that_the_database_refused_are_shipped_later(environment: Environment) -> None:
    writer = environment.writer()
    for number in range(10):
        writer.append(encoded(number))
    writer.close()
    engine = environment.engine()
    shipper = environment.shipper(engine)
    rename(engine, "reccom", "hidden")
    with pytest.raises(sa.exc.OperationalError):
        shipper.ship()
    rename(engine, "hidden", "reccom")
    assert shipper.ship() == 10
    assert len(rows(engine, reccom)) == 10


def test_records_beyond_the_retention_are_deleted(environment: Environment) -> None:
    writer = environment.writer()
    writer.append(encoded())
    old = NOW_US - 10 * 86_400_000_000
    old_id = f"{old // 10**6}.000-{RANDOM_PART}"
    writer.append(encoded(request_id=old_id, answered_at_us=old))
    engine = environment.engine()
    environment.shipper(engine).ship()
    enforce_retention(engine, NOW_US, retention_days=9)
    assert [row["answered_at_us"] for row in rows(engine, reccom)] == [NOW_US]


def test_a_clock_that_is_200_days_ahead_and_back_deletes_no_record(
    environment: Environment,
) -> None:
    writer = environment.writer()
    writer.append(encoded())
    engine = environment.engine()
    environment.shipper(engine).ship()
    for day in (0, 200, 200, 206, 0, 5):
        enforce_retention(engine, NOW_US + day * US_PER_DAY, retention_days=90)
    assert len(rows(engine, reccom)) == 1
    for day in (*range(6, 91), 91):
        enforce_retention(engine, NOW_US + day * US_PER_DAY, retention_days=90)
    assert not rows(engine, reccom)


def test_the_backlog_counts_records_that_are_not_committed(environment: Environment) -> None:
    writer = environment.writer()
    reader = SpoolReader(environment.spool)
    size = SpoolSize(reader)
    assert size.measure().records == 0
    for number in range(7):
        writer.append(encoded(number))
    backlog = size.measure()
    assert backlog.records == 7
    assert backlog.bytes > 7 * len(encoded())
    assert backlog.oldest_age_seconds > 0
    (segment,) = list_segments(environment.spool)
    reader.commit(list(reader.read_batches(segment, max_records=5))[:1])
    writer.append(encoded(8))
    assert size.measure().records == 3
    reader.commit(list(reader.read_batches(segment, max_records=100)))
    assert (size.measure().records, size.measure().bytes) == (0, 0)


def test_the_server_traces_a_request(environment: Environment) -> None:
    environment.writer().append(encoded())
    engine = environment.engine()
    environment.shipper(engine).ship()
    app = create_app(ShipperMetrics(SpoolReader(environment.spool)), Lineage(engine))
    client = app.test_client()
    found = client.get(f"/trace/{make_record().request_id}")
    assert found.json is not None
    assert [record["user_id"] for record in found.json["records"]] == [42]
    missing = client.get(f"/trace/{make_record(1).request_id}")
    assert (missing.status_code, missing.content_type) == (404, "application/problem+json")
    assert client.get("/health").json == {"status": "alive"}
    assert "marquee_provenance_spool_records 0.0" in client.get("/metrics").text


def test_the_server_answers_503_without_a_database(environment: Environment) -> None:
    engine = sa.create_engine("sqlite:////nonexistent/provenance.db")
    app = create_app(ShipperMetrics(SpoolReader(environment.spool)), Lineage(engine))
    assert app.test_client().get(f"/trace/{make_record().request_id}").status_code == 503


@pytest.mark.parametrize(
    "request_id",
    [
        "none", "1", "x" * 5000, f"1700000000.123-{RANDOM_PART}0", "1700000000.123-x",
        f"170000000\u0661.123-{RANDOM_PART}", f"1700000000.123-{RANDOM_PART}%0a", "2" * 24,
    ],
)  # fmt: skip
def test_a_trace_of_an_id_of_no_known_form_reads_no_table(
    environment: Environment, request_id: str
) -> None:
    engine = environment.engine()
    statements: list[str] = []
    sa.event.listen(engine, "before_cursor_execute", lambda *args: statements.append(args[2]))
    app = create_app(ShipperMetrics(SpoolReader(environment.spool)), Lineage(engine))
    assert app.test_client().get(f"/trace/{request_id}").status_code == 400
    assert statements == []


def test_slow_traces_delay_neither_other_pages_nor_the_shipper(environment: Environment) -> None:
    environment.writer().append(encoded())
    engine, shipped = environment.engine(), environment.engine()
    started, go_on = Semaphore(0), Event()

    def wait(*_: object) -> None:
        started.release()
        assert go_on.wait(60)

    sa.event.listen(engine, "before_cursor_execute", wait)
    app = create_app(ShipperMetrics(SpoolReader(environment.spool)), Lineage(engine))
    path = f"/trace/{make_record().request_id}"
    with ThreadPoolExecutor() as pool:
        try:
            slow = [pool.submit(app.test_client().get, path) for _ in range(MAX_TRACES)]
            for _ in slow:
                assert started.acquire(timeout=60)
            refused = app.test_client().get(path)
            assert (refused.status_code, "too many traces" in refused.text) == (503, True)
            assert app.test_client().get("/health").status_code == 200
            assert environment.shipper(shipped).ship() == 1
        finally:
            go_on.set()
        assert {done.result().status_code for done in slow} == {200}
