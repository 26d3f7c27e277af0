"""The same schema in a real MariaDB, with the users the stack has."""

import io
import time
from pathlib import Path

import pytest
import sqlalchemy as sa

from app.provenance.backup import back_up, restore
from app.provenance.database import connect, insert, upkeep
from app.provenance.record_format import answer_frame
from app.provenance.tables import reccom
from app.settings import Settings
from tests.support.mariadb import Database, marquee
from tests.unit.provenance.conftest import Place, answered
from tests.unit.provenance.test_backup import content
from tests.unit.provenance.test_shipper import JOIN

DAY = 86_400_000_000


@pytest.fixture
def place(tmp_path: Path, shared_model: Path) -> Place:
    return Place(tmp_path, shared_model)


def fill(place: Place, records: int) -> None:
    recorder = place.recorder()
    for number in range(records):
        recorder.append(answer_frame(*answered(number)))
    recorder.close()


def test_records_arrive_once_and_the_client_joins_them(mariadb: Database, place: Place) -> None:
    fill(place, 5000)
    engine = mariadb.engine()
    assert place.shipper(engine).ship() == 5000
    fill(place, 5000)
    assert place.shipper(engine).ship() == 5000
    assert mariadb.query("select count(*), count(distinct request_id) from reccom") == (
        "5000\t5000\n"
    )
    joined = mariadb.query(JOIN).splitlines()
    assert [line.split("\t")[:2] for line in joined] == [["3", "42"], ["3", "42"]]
    assert mariadb.query("select model_rmse is null from tracking") == "1\n"


def test_the_join_reads_an_index_and_not_every_row(mariadb: Database, place: Place) -> None:
    fill(place, 3000)
    place.shipper(mariadb.engine()).ship()
    mariadb.query("analyze table reccom, tracking")
    assert "reccom_version" in mariadb.query(f"explain {JOIN}")


def test_migrating_again_changes_nothing(mariadb: Database, place: Place) -> None:
    fill(place, 10)
    place.shipper(mariadb.engine()).ship()
    assert marquee("migrate", **mariadb.settings("marquee_owner")).returncode == 0
    assert mariadb.query("select count(*) from reccom") == "10\n"


def test_the_recording_user_can_neither_change_nor_remove(mariadb: Database) -> None:
    for statement in (
        "delete from reccom", "update tracking set model_rmse = 0", "drop table build",
        "create table x (y int)",
    ):  # fmt: skip
        with (
            pytest.raises(sa.exc.ProgrammingError, match="denied"),
            mariadb.engine().begin() as connection,
        ):
            connection.execute(sa.text(statement))


def partitions(mariadb: Database) -> list[str]:
    return mariadb.query(
        "select partition_name from information_schema.partitions "
        "where table_schema = 'marquee' and table_name = 'reccom' "
        "order by partition_ordinal_position"
    ).split()


def row(day: int) -> dict[str, object]:
    return {
        "day": day, "request_id": f"r{day}", "slot": "s", "version_number": 1, "user_id": 1,
        "time": day * DAY, "source": "popular", "took": 1, "given_up": False, "asked_again": False,
        "build_id": "b", "movies": b"",
    }  # fmt: skip


def test_upkeep_makes_coming_partitions_and_drops_old_ones(mariadb: Database) -> None:
    today = time.time_ns() // 1000 // DAY
    engine = mariadb.engine()
    upkeep(engine, today * DAY, keep_days=5)
    assert partitions(mariadb)[-4:] == [f"d{today + 1}", f"d{today + 2}", f"d{today + 3}", "later"]
    with engine.begin() as connection:
        insert(connection, reccom, [row(today + n) for n in range(-1, 6)])
    upkeep(engine, (today + 8) * DAY, keep_days=6)
    made = [f"d{today + n}" for n in (2, 3, 8, 9, 10, 11)]
    assert partitions(mariadb) == [*made, "later"]
    kept = mariadb.query("select day from reccom order by day").split()
    assert [int(day) - today for day in kept] == [2, 3, 4, 5]
    plan = mariadb.query(f"explain partitions select * from reccom where day = {today + 3}")
    assert f"\td{today + 3}\t" in plan


def test_upkeep_does_not_keep_answers_out_while_they_are_read(mariadb: Database) -> None:
    today = time.time_ns() // 1000 // DAY
    engine = mariadb.engine()
    before = partitions(mariadb)
    with engine.connect() as reader:
        reader.execute(sa.select(reccom)).all()  # and its transaction stays open
        upkeep(engine, (today + 20) * DAY, keep_days=5)
        with engine.begin() as connection:
            insert(connection, reccom, [row(today)])
        assert partitions(mariadb) == before
    upkeep(engine, (today + 20) * DAY, keep_days=5)
    assert partitions(mariadb)[-2:] == [f"d{today + 23}", "later"]


def test_what_the_tracer_reads_is_what_was_written(mariadb: Database, place: Place) -> None:
    fill(place, 20)
    place.shipper(mariadb.engine()).ship()
    settings = {**mariadb.settings(), "MARQUEE_LOG_LEVEL": "error"}
    done = marquee("trace", "--request", answered(7).request_id, **settings)
    assert done.returncode == 0, done.stderr
    assert f"request_id                {answered(7).request_id}\n" in done.stdout
    assert marquee("trace", "--user", "42", "--last", "3", **settings).stdout.count("slot ") == 3


def test_what_sqlite_held_is_restored_into_mariadb_and_back(
    mariadb: Database, place: Place, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("app.provenance.backup._ROWS", 700)
    fill(place, 3000)
    place.shipper(place.engine()).ship()
    first, second = io.BytesIO(), io.BytesIO()
    held = back_up(place.engine(), tmp_path / "none", first)
    first.seek(0)
    assert restore(mariadb.engine(), tmp_path / "none", first) == held
    assert held["reccom"] == 3000
    back_up(mariadb.engine(), tmp_path / "none", second)
    second.seek(0)
    again = connect(Settings(database=f"sqlite:///{tmp_path}/again.db"))
    restore(again, tmp_path / "none", second)
    assert content(again) == content(place.engine())


@pytest.mark.parametrize("command", ["migrate", "trace --user 1"])
def test_a_wrong_password_is_one_clear_line(mariadb: Database, command: str) -> None:
    settings = {**mariadb.settings("marquee_owner")}
    del settings["MARQUEE_DATABASE_PASSWORD_FILE"]
    done = marquee(*command.split(), **settings, MARQUEE_DATABASE_PASSWORD="wrong")
    assert done.returncode == 1
    assert "Access denied for user 'marquee_owner'" in done.stderr.splitlines()[-1]
