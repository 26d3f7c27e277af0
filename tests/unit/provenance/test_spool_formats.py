"""Files of the spool that another version wrote: shipped, or kept until they can be read."""

import json
import os
import shutil
import struct
import time
from collections.abc import Callable
from pathlib import Path

import pytest
import sqlalchemy as sa

from app.provenance.database import get_revision
from app.provenance.lineage import Lineage
from app.provenance.quarantine import DIRECTORY, Quarantine, UnreadableError
from app.provenance.record_format import (
    FORGOTTEN_USER,
    Record,
    decode_header,
    decode_info,
    decode_record,
    encode_frame,
    encode_info,
    read_frames,
)
from app.provenance.shipper import Shipper
from app.provenance.shipper_metrics import ShipperMetrics
from app.provenance.spool_reader import SpoolReader
from app.provenance.spool_writer import list_segments
from app.provenance.tables import build, reccom, tracking
from app.provenance.user_removal import anonymize_spool
from tests.conftest import ROOT
from tests.support.commands import invoke
from tests.support.provenance import Environment, encoded

#: The spool of a canary of version 0.2.0 with three records; see the README there.
OLD = ROOT / "tests" / "formats" / "0.2.0"
#: A segment of a later format: another header, and records with one more byte.
LATER_HEADER = {"format": 3, "slot": "canary", "region": "eu"}
LATER_NAME = "17f0000000000000-canary-7.v3.segment"


def later_segment(environment: Environment, name: str = LATER_NAME) -> Path:
    """Write a segment of a later format, older than every other."""
    environment.spool.mkdir(parents=True, exist_ok=True)
    header, record = encode_frame(json.dumps(LATER_HEADER).encode()), encode_frame(b"\x07" * 90)
    path = environment.spool / f"0{name}"
    path.write_bytes(header + record)
    return path


def write_record(environment: Environment) -> None:
    writer = environment.writer()
    writer.append(encoded())
    writer.close()


def quarantined(environment: Environment) -> list[str]:
    return sorted(path.name for path in (environment.spool / DIRECTORY).glob("*"))


def metric(shipper: Shipper, name: str, **labels: str) -> float | None:
    return shipper._metrics.registry.get_sample_value(name, labels)


def count_records(engine: sa.Engine) -> int:
    with engine.connect() as connection:
        return int(connection.scalar(sa.select(sa.func.count()).select_from(reccom)) or 0)


def restart(environment: Environment, engine: sa.Engine) -> Shipper:
    """Start a shipper as `run_shipper` does."""
    reader = SpoolReader(environment.spool)
    reader.clean_up()
    reader.requeue()
    return Shipper(reader, engine, ShipperMetrics(reader), 36_500)


def test_a_spool_of_version_0_2_0_is_shipped_and_traced(environment: Environment) -> None:
    shutil.copytree(OLD / "spool", environment.spool)
    write_record(environment)  # of this version
    engine = environment.engine()
    shipper = environment.shipper(engine)
    assert shipper.ship() == 4
    (found,) = Lineage(engine).find_user(2, 1)
    assert found["build"]["git_commit"] == "0" * 40
    assert found["version"]["parameters"]["blend"]["newcomer"] == 10
    assert len(found["movie_ids"]) == 5
    assert metric(shipper, "marquee_provenance_quarantine_files") == 0


def test_a_shipper_of_version_0_2_0_refuses_what_this_version_writes(
    environment: Environment,
) -> None:
    """It matches suffixes, and keeps what has another header or is no JSON for a newer one."""
    write_record(environment)
    (segment,) = environment.spool.glob("[!.]*.segment")
    (old,) = (OLD / "spool").glob("[!.]*.segment")
    headers = [json.loads(next(read_frames(path.read_bytes()))[0]) for path in (segment, old)]
    assert headers[0].keys() - headers[1].keys() == {"configuration_id"}
    (info,) = environment.spool.glob("[!.]*.info.json")
    with pytest.raises(ValueError):
        json.loads(info.read_bytes())
    assert decode_info(info.read_bytes()).keys() == {
        "tracking", "build", "catalogue", "configuration"
    }  # fmt: skip


def test_a_segment_of_format_1_with_its_number_is_shipped(environment: Environment) -> None:
    """As the version before wrote it: 32 bytes of fixed width, the request id, the movies."""
    fixed = struct.pack("<QQBQ??B", 1_700_000_000_000_000, 42, 1, 80, False, True, 4)
    header = {"slot": "canary", "version_number": 3, "build_id": "b"}
    frames = encode_frame(json.dumps(header).encode()) + encode_frame(fixed + b"mine\1\0\2\0")
    environment.spool.mkdir(parents=True)
    (environment.spool / "17f0-canary-7.v1.segment").write_bytes(frames)
    engine = environment.engine()
    assert environment.shipper(engine).ship() == 1
    with engine.connect() as connection:
        (row,) = connection.execute(sa.select(reccom)).mappings()
    assert (row["request_id"], row["source"], row["is_retry"]) == ("mine", "popular", True)
    assert (row["movie_numbers"], row["recent_events"]) == (b"\1\0\2\0", None)
    assert row["configuration_id"] is None


def test_the_names_of_files_have_the_number_of_their_format(environment: Environment) -> None:
    write_record(environment)
    names = [path.name for path in environment.spool.iterdir()]
    assert sorted(name.split(".", 1)[1] for name in names) == ["v2.info.json", "v2.segment"]


@pytest.mark.parametrize("name", [LATER_NAME, "17f0000000000000-canary-7.segment"])
def test_a_segment_of_another_format_is_kept_and_later_ones_are_shipped(
    environment: Environment, name: str
) -> None:
    later = later_segment(environment, name)
    content = later.read_bytes()
    write_record(environment)
    engine = environment.engine()
    shipper = environment.shipper(engine)
    assert shipper.ship() == 1
    assert shipper.ship() == 0
    assert quarantined(environment) == [later.name]
    assert (environment.spool / DIRECTORY / later.name).read_bytes() == content
    reason = "format" if name == LATER_NAME else "content"
    total = "marquee_provenance_quarantined_files_total"
    assert metric(shipper, total, kind="segment", reason=reason) == 1
    assert metric(shipper, total, kind="info", reason="format") == 0
    assert metric(shipper, "marquee_provenance_quarantine_files") == 1
    assert metric(shipper, "marquee_provenance_quarantine_bytes") == len(content)


def test_a_record_that_cannot_be_read_does_not_stop_those_after_it(
    environment: Environment,
) -> None:
    writer = environment.writer()
    writer.append(encoded())
    for payload in (b"\x09" * 60, b"short"):  # a source that does not exist; too short
        writer.append(encode_frame(payload))
    writer.append(encoded(1))
    writer.append(encode_frame(b"last"))
    writer.close()
    engine = environment.engine()
    shipper = environment.shipper(engine)
    assert shipper.ship() == 2
    assert not list_segments(environment.spool)
    assert len(quarantined(environment)) == 1
    total = "marquee_provenance_quarantined_files_total"
    assert metric(shipper, total, kind="segment", reason="content") == 1


@pytest.mark.parametrize("max_records", [1, 2, 100])
def test_a_segment_of_unreadable_records_only_is_removed(
    environment: Environment, max_records: int
) -> None:
    writer = environment.writer()
    for _ in range(3):
        writer.append(encode_frame(b"?"))
    reader = SpoolReader(environment.spool)
    (segment,) = list_segments(environment.spool)
    batches = list(reader.read_batches(segment, max_records))
    assert [batch.records for batch in batches] == [[]]
    reader.commit(batches)
    assert not list(reader.read_batches(segment, max_records))
    writer.close()
    reader.remove_if_shipped(segment)
    assert not list_segments(environment.spool)
    assert len(quarantined(environment)) == 1


def add_table(info: dict[str, dict[str, object]]) -> None:
    info["region"] = {"name": "eu"}


def add_column(info: dict[str, dict[str, object]]) -> None:
    info["build"]["region"] = "eu"


def change_type(info: dict[str, dict[str, object]]) -> None:
    info["tracking"]["model_hash"] = ["a", "b"]


def remove_key(info: dict[str, dict[str, object]]) -> None:
    del info["build"]["build_id"]


def remove_version(info: dict[str, dict[str, object]]) -> None:
    del info["tracking"]


@pytest.mark.parametrize("change", [add_table, add_column, change_type, remove_key, remove_version])
def test_a_description_of_another_form_is_kept_and_records_are_shipped(
    environment: Environment, change: Callable[[dict[str, dict[str, object]]], None]
) -> None:
    write_record(environment)
    (path,) = environment.spool.glob("*.info.json")
    info = decode_info(path.read_bytes())
    change(info)
    other = environment.spool / "0-canary.v2.info.json"  # before the other
    other.write_bytes(encode_info(info))
    engine = environment.engine()
    shipper = environment.shipper(engine)
    assert shipper.ship() == 1
    assert quarantined(environment) == [other.name]
    assert Lineage(engine).find_version(3)
    total = "marquee_provenance_quarantined_files_total"
    assert metric(shipper, total, kind="info", reason="content") == 1


def test_a_description_of_another_format_is_kept(environment: Environment) -> None:
    environment.writer().write_instance_info()
    (path,) = environment.spool.glob("*.info.json")
    path.rename(environment.spool / "4-canary.v3.info.json")
    engine = environment.engine()
    shipper = environment.shipper(engine)
    shipper.ship()
    assert quarantined(environment) == ["4-canary.v3.info.json"]
    total = "marquee_provenance_quarantined_files_total"
    assert metric(shipper, total, kind="info", reason="format") == 1


def test_a_description_that_is_written_again_replaces_the_one_that_is_kept(
    environment: Environment,
) -> None:
    """A slot writes it at each start."""
    environment.spool.mkdir(parents=True)
    shipper = environment.shipper(environment.engine())
    for content in ("{}", '{"a": 1}'):
        (environment.spool / "4-canary.v3.info.json").write_text(content)
        shipper.ship()
        assert [path.name for path in environment.spool.iterdir()] == [DIRECTORY]
        assert (environment.spool / DIRECTORY / "4-canary.v3.info.json").read_text() == content


def test_a_shipper_that_knows_the_format_reads_what_an_older_one_kept(
    environment: Environment,
) -> None:
    """The older ones are of version 0.2.0, which renamed such files, and of a later version."""
    write_record(environment)
    (segment,) = list_segments(environment.spool)
    (info,) = environment.spool.glob("*.info.json")
    segment.rename(segment.with_suffix(".damaged"))
    (environment.spool / DIRECTORY).mkdir()
    info.rename(environment.spool / DIRECTORY / info.name)
    later_segment(environment)
    engine = environment.engine()
    restart(environment, engine).ship()
    assert count_records(engine) == 1
    assert Lineage(engine).find_user(42, 1)[0]["build"]
    assert quarantined(environment) == [f"0{LATER_NAME}"]


def test_a_description_that_version_0_2_0_renamed_is_read(environment: Environment) -> None:
    environment.writer().write_instance_info()
    (info,) = environment.spool.glob("*.info.json")
    info.rename(info.with_suffix(".damaged"))
    engine = environment.engine()
    restart(environment, engine).ship()
    with engine.connect() as connection:
        assert connection.execute(sa.select(build)).first()
        assert connection.execute(sa.select(tracking)).first()


def test_requeue_moves_the_files_that_can_be_read_by_now(environment: Environment) -> None:
    write_record(environment)
    (segment,) = list_segments(environment.spool)
    quarantine = Quarantine(environment.spool)
    quarantine.add(segment, UnreadableError("format", "for a test"))
    spool = str(environment.spool)
    done = invoke("requeue", "--json", MARQUEE_SPOOL_DIR=spool)
    assert (done.returncode, done.stderr) == (0, b"")
    assert json.loads(done.stdout) == {"requeued": [segment.name], "unreadable": {}}
    engine = environment.engine()
    assert environment.shipper(engine).ship() == 1

    later = later_segment(environment)
    environment.shipper(engine).ship()
    done = invoke("requeue", MARQUEE_SPOOL_DIR=spool)
    assert done.returncode == 1
    assert done.stdout == b"0 files are in the spool again\n"
    assert done.stderr == f"{later.name}: format 3; this program reads 1 and 2\n".encode()
    assert quarantined(environment) == [later.name]


def test_a_running_shipper_sends_a_requeued_segment_again(environment: Environment) -> None:
    """Also the records before the offset that it had committed in this segment."""
    writer = environment.writer()
    writer.append(encoded())
    writer.append(encode_frame(b"?"))
    engine = environment.engine()
    shipper = environment.shipper(engine)
    shipper.ship()
    writer.close()
    shipper.ship()
    (name,) = quarantined(environment)
    (environment.spool / DIRECTORY / name).rename(environment.spool / name)
    with engine.begin() as connection:
        connection.execute(sa.delete(reccom))
    assert shipper.ship() == 1


def test_the_quarantine_is_bounded_in_size_and_age(environment: Environment) -> None:
    quarantine = Quarantine(environment.spool, max_bytes=250, max_age_days=2)
    error = UnreadableError("content", "for a test")
    environment.spool.mkdir(parents=True)
    for number in range(4):
        path = environment.spool / f"{number}.segment"
        path.write_bytes(bytes(100))
        os.utime(path, (time.time(), time.time() - 100 + number))
        quarantine.add(path, error)
    assert quarantined(environment) == ["2.segment", "3.segment"]
    assert quarantine.removed == 2
    old = time.time() - 3 * 86_400
    os.utime(environment.spool / DIRECTORY / "2.segment", (old, old))
    quarantine.prune()
    assert quarantined(environment) == ["3.segment"]
    assert quarantine.measure() == (1, 100)


def test_a_quarantine_that_cannot_be_written_does_not_stop_the_shipper(
    environment: Environment,
) -> None:
    later = later_segment(environment)
    (environment.spool / DIRECTORY).write_text("a file in place of the directory")
    write_record(environment)
    shipper = environment.shipper(environment.engine())
    assert [shipper.ship() for _ in range(3)] == [1, 0, 0]
    assert later.exists()


def test_a_header_with_values_of_another_type_is_refused() -> None:
    header = {"slot": "canary", "version_number": "4", "build_id": "4-0"}
    with pytest.raises(ValueError, match="version_number is '4'"):
        decode_header(json.dumps(header).encode())


def test_tables_of_a_later_version_are_used_as_they_are(environment: Environment) -> None:
    """After a rollback of the code: `migrate` runs before the shipper, which would not start."""
    write_record(environment)
    engine = environment.engine()
    with engine.begin() as connection:
        connection.execute(sa.text("alter table reccom add column region varchar(8)"))
        connection.execute(sa.text("update alembic_version set version_num = '9999'"))
    done = invoke("migrate", MARQUEE_DATABASE=environment.settings.database)
    assert done.returncode == 0, done.stderr
    assert b"the tables are of a later version" in done.stderr
    assert environment.shipper(engine).ship() == 1
    assert get_revision(engine) == "9999"


def test_a_user_is_removed_from_a_spool_of_version_0_2_0(environment: Environment) -> None:
    shutil.copytree(OLD / "spool", environment.spool)
    (segment,) = list_segments(environment.spool)

    def read_records() -> list[Record]:
        payloads = [payload for payload, _ in read_frames(segment.read_bytes())]
        return [decode_record(payload, 1) for payload in payloads[1:]]

    before = read_records()
    user = before[0].user_id
    assert anonymize_spool(environment.spool, user) == [r.user_id for r in before].count(user) > 0
    assert read_records() == [
        record._replace(user_id=FORGOTTEN_USER) if record.user_id == user else record
        for record in before
    ]
