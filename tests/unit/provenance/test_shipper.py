import json
from typing import Any

import pytest
import sqlalchemy as sa

from app.provenance.database import day_of, time_of_id, upkeep
from app.provenance.record_format import GIVEN_UP, answer_frame
from app.provenance.spool_reader import Backlog
from app.provenance.spool_size import QueueLength
from app.provenance.spool_writer import segments
from app.provenance.tables import build, catalogue, reccom, tracking
from app.service.recommend import new_request_id
from tests.unit.provenance.conftest import CHANCE, NOW, Place, answered

JOIN = """
select A.version_number, A.user_id, B.data_creation, B.trained_on, B.model_rmse
from reccom A, tracking B where A.version_number = B.version_number
order by A.version_number desc limit 2
"""


def rows(engine: sa.Engine, table: sa.Table) -> list[dict[str, Any]]:
    with engine.connect() as connection:
        return [dict(row) for row in connection.execute(sa.select(table)).mappings()]


def test_every_record_arrives_once_and_the_queue_is_empty(place: Place) -> None:
    recorder = place.recorder()
    for number in range(5000):
        recorder.append(answer_frame(*answered(number)))
    recorder.close()
    engine = place.engine()
    assert place.shipper(engine).ship() == 5000
    assert place.shipper(engine).ship() == 0
    found = rows(engine, reccom)
    assert len({row["request_id"] for row in found}) == 5000
    assert found[0]["slot"] == "stable-1"
    assert found[0]["version_number"] == 3
    assert found[0]["movies"] == bytes([1, 0, 2, 0])
    assert not segments(place.queue)


def test_what_made_the_answers_is_there_first(place: Place) -> None:
    place.recorder().tell()
    engine = place.engine()
    place.shipper(engine).ship()
    assert [row["version_number"] for row in rows(engine, tracking)] == [3]
    assert [row["build_id"][:8] for row in rows(engine, build)] == ["unknown-"]
    assert [row["movies"] for row in rows(engine, catalogue)] == [60]
    assert not list(place.queue.glob("*.about"))


def test_the_join_of_old_works(place: Place) -> None:
    recorder = place.recorder()
    recorder.append(answer_frame(*answered()))
    engine = place.engine()
    place.shipper(engine).ship()
    with engine.connect() as connection:
        assert [tuple(row)[:2] for row in connection.execute(sa.text(JOIN))] == [(3, 42)]


def test_a_record_sent_twice_is_one_row(place: Place) -> None:
    recorder = place.recorder()
    recorder.append(answer_frame(*answered()))
    engine = place.engine()
    place.shipper(engine).ship()
    (place.queue / "shipped.json").unlink()
    recorder.append(answer_frame(*answered(1)))
    assert place.shipper(engine).ship() == 2
    assert len(rows(engine, reccom)) == 2


def test_a_damaged_position_only_sends_again(place: Place) -> None:
    recorder = place.recorder()
    recorder.append(answer_frame(*answered()))
    engine = place.engine()
    place.shipper(engine).ship()
    (place.queue / "shipped.json").write_text("{torn")
    place.shipper(engine).ship()
    assert len(rows(engine, reccom)) == 1


def test_two_slots_may_answer_one_request(place: Place) -> None:
    for slot, flags in (("canary", GIVEN_UP), ("stable-1", 0)):
        place.recorder(slot).append(answer_frame(*answered(flags=flags)))
    engine = place.engine()
    place.shipper(engine).ship()
    assert {(row["slot"], row["given_up"]) for row in rows(engine, reccom)} == {
        ("canary", True),
        ("stable-1", False),
    }


def test_a_segment_in_use_is_shipped_and_stays(place: Place) -> None:
    recorder = place.recorder()
    engine = place.engine()
    shipper = place.shipper(engine)
    for number in range(3):
        recorder.append(answer_frame(*answered(number)))
        assert shipper.ship() == 1
    assert len(segments(place.queue)) == 1


def test_a_torn_end_is_noticed_when_its_writer_is_gone(place: Place) -> None:
    recorder = place.recorder()
    recorder.append(answer_frame(*answered()))
    recorder.append(answer_frame(*answered(1))[:40])
    engine = place.engine()
    shipper = place.shipper(engine)
    assert shipper.ship() == 1
    assert len(segments(place.queue)) == 1
    recorder.close()
    assert shipper.ship() == 0
    assert not segments(place.queue)
    torn = shipper._metrics.registry.get_sample_value("marquee_provenance_records_torn")
    assert torn == 1


def test_a_damaged_segment_is_kept_for_a_person(place: Place) -> None:
    recorder = place.recorder()
    for number in range(200):
        recorder.append(answer_frame(*answered(number)))
    recorder.close()
    (segment,) = segments(place.queue)
    data = bytearray(segment.read_bytes())
    data[len(data) // 2] ^= 255
    segment.write_bytes(data)
    assert 90 < place.shipper(place.engine()).ship() < 110
    assert not segments(place.queue)
    assert len(list(place.queue.glob("*.damaged"))) == 1


@pytest.mark.parametrize("name", ["1-x-1.segment", "x.about"])
def test_a_file_that_makes_no_sense_is_put_aside(place: Place, name: str) -> None:
    place.queue.mkdir(parents=True)
    (place.queue / name).write_bytes(b"\0\1\2")
    place.shipper(place.engine()).ship()
    assert [p.suffix for p in place.queue.iterdir()] == [".damaged"]


def test_another_model_under_the_same_number_is_told(
    place: Place, caplog: pytest.LogCaptureFixture
) -> None:
    place.recorder().tell()
    engine = place.engine()
    place.shipper(engine).ship()
    place.recorder().tell()
    (path,) = place.queue.glob("*.about")
    said = json.loads(path.read_bytes())
    said["tracking"]["model_hash"] = "f" * 64
    path.write_text(json.dumps(said))
    shipper = place.shipper(engine)
    shipper.ship()
    text = shipper._metrics.registry.get_sample_value("marquee_provenance_version_conflicts_total")
    assert text == 1.0


def test_a_database_without_tables_keeps_the_records(place: Place) -> None:
    place.recorder().append(answer_frame(*answered()))
    engine = sa.create_engine(place.settings.database)
    shipper = place.shipper(engine)
    assert not shipper._cycle()
    assert len(segments(place.queue)) == 1
    place.engine()
    assert shipper._cycle()
    assert len(rows(engine, reccom)) == 1


def test_old_answers_are_dropped(place: Place) -> None:
    recorder = place.recorder()
    recorder.append(answer_frame(*answered()))
    old = NOW - 10 * 86_400_000_000
    recorder.append(answer_frame(*answered(request_id=f"{old // 10**6}.000-{CHANCE}", time=old)))
    engine = place.engine()
    place.shipper(engine).ship()
    upkeep(engine, NOW, keep_days=9)
    assert [row["time"] for row in rows(engine, reccom)] == [NOW]


def test_the_length_of_the_queue_is_told(place: Place) -> None:
    recorder = place.recorder()
    backlog = Backlog(place.queue)
    length = QueueLength(backlog)
    assert length.measure().records == 0
    for number in range(7):
        recorder.append(answer_frame(*answered(number)))
    measured = length.measure()
    assert measured.records == 7
    assert measured.bytes > 7 * len(answer_frame(*answered()))
    assert measured.oldest_seconds > 0
    (segment,) = segments(place.queue)
    backlog.taken(list(backlog.pieces(segment, most=5))[:1])
    recorder.append(answer_frame(*answered(8)))
    assert length.measure().records == 3
    backlog.taken(list(backlog.pieces(segment, most=100)))
    assert (length.measure().records, length.measure().bytes) == (0, 0)


@pytest.mark.parametrize(
    ("request_id", "moment"),
    [
        (f"1700000000.123-{CHANCE}", 1_700_000_000_123_000),
        ("17979cfe362a0000" + "0" * 8, 1_700_000_000_000_000),
        ("1700000000.12-x", None),
        ("mine", None),
    ],
)
def test_an_id_tells_its_time(request_id: str, moment: int | None) -> None:
    assert time_of_id(request_id) == moment


def test_a_request_is_of_the_day_of_its_id() -> None:
    midnight = 20_000 * 86_400
    name = f"{midnight - 1}.900-{CHANCE}"
    assert day_of(name, midnight * 10**6 + 5) == 19_999
    assert day_of("mine", midnight * 10**6 + 5) == 20_000
    assert day_of(new_request_id(), 0) > 20_000
