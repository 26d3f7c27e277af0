"""The schema and the shipper with a real MariaDB and the database users of the stack."""

import contextlib
import io
import time
from pathlib import Path

import pytest
import sqlalchemy as sa

from app.provenance.backup import restore_backup, write_backup
from app.provenance.database import (
    connect,
    enforce_retention,
    insert_ignore,
    set_retention,
    upgrade,
)
from app.provenance.tables import reccom
from app.settings import Settings
from tests.support.mariadb import Database, marquee
from tests.support.provenance import (
    JOIN,
    Environment,
    content,
    encoded,
    interrupt_migrations,
    make_record,
)

DAY_US = 86_400_000_000
TABLES = (
    "reccom, tracking, build, configuration, catalogue, upkeep, quality, audit, alembic_version"
)


@pytest.fixture
def environment(tmp_path: Path, shared_model: Path) -> Environment:
    return Environment(tmp_path, shared_model)


def write_records(environment: Environment, count: int) -> None:
    writer = environment.writer()
    for number in range(count):
        writer.append(encoded(number))
    writer.close()


def test_records_are_shipped_once_and_can_be_joined_with_their_version(
    mariadb: Database, environment: Environment
) -> None:
    write_records(environment, 5000)
    engine = mariadb.engine()
    assert environment.shipper(engine).ship() == 5000
    write_records(environment, 5000)
    assert environment.shipper(engine).ship() == 5000
    assert mariadb.query("select count(*), count(distinct request_id) from reccom") == (
        "5000\t5000\n"
    )
    joined = mariadb.query(JOIN).splitlines()
    assert [line.split("\t")[:2] for line in joined] == [["3", "42"], ["3", "42"]]
    assert mariadb.query("select model_rmse is null from tracking") == "1\n"


def test_the_join_uses_an_index(mariadb: Database, environment: Environment) -> None:
    write_records(environment, 3000)
    environment.shipper(mariadb.engine()).ship()
    mariadb.query("analyze table reccom, tracking")
    assert "reccom_version" in mariadb.query(f"explain {JOIN}")


def test_migrating_again_changes_nothing(mariadb: Database, environment: Environment) -> None:
    write_records(environment, 10)
    environment.shipper(mariadb.engine()).ship()
    assert marquee("migrate", **mariadb.settings("marquee_owner")).returncode == 0
    assert mariadb.query("select count(*) from reccom") == "10\n"


def test_the_shippers_user_can_neither_change_nor_delete(mariadb: Database) -> None:
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
        "build_id": "b", "answered_at_us": day * DAY_US, "source": "popular", "duration_us": 1,
        "client_gone": False, "is_retry": False, "movie_numbers": b"",
    }  # fmt: skip


def keep_up(mariadb: Database, day: int) -> None:
    """Run the upkeep of a day as the owner of the tables."""
    mariadb.query(f"call reccom_upkeep_at({day})")


def insert_days(mariadb: Database, *days: int) -> None:
    with mariadb.engine().begin() as connection:
        insert_ignore(connection, reccom, [row(day) for day in days])


def read_days(mariadb: Database) -> list[int]:
    return [int(day) for day in mariadb.query("select day from reccom order by day").split()]


def test_retention_creates_coming_partitions_and_drops_old_ones(mariadb: Database) -> None:
    today = time.time_ns() // 1000 // DAY_US
    set_retention(mariadb.engine("marquee_owner"), 6)
    enforce_retention(mariadb.engine(), time.time_ns() // 1000, retention_days=6)
    assert partitions(mariadb) == [*(f"d{today + n}" for n in range(4)), "later"]
    insert_days(mariadb, *(today + n for n in range(-1, 8)))
    for step in (3, 6, 8):
        keep_up(mariadb, today + step)
    assert partitions(mariadb) == [*(f"d{today + n}" for n in range(2, 12)), "later"]
    assert [day - today for day in read_days(mariadb)] == list(range(2, 8))
    plan = mariadb.query(f"explain partitions select * from reccom where day = {today + 3}")
    assert f"\td{today + 3}\t" in plan


def test_retention_does_not_block_inserts_while_the_table_is_read(mariadb: Database) -> None:
    today = time.time_ns() // 1000 // DAY_US
    engine = mariadb.engine()
    with engine.connect() as reader:
        reader.execute(sa.select(reccom)).all()  # its transaction stays open
        enforce_retention(engine, time.time_ns() // 1000, retention_days=90)
        insert_days(mariadb, today)
        assert partitions(mariadb) == ["later"]
    enforce_retention(engine, time.time_ns() // 1000, retention_days=90)
    assert partitions(mariadb)[-2:] == [f"d{today + 3}", "later"]
    assert read_days(mariadb) == [today]


def test_the_recording_user_cannot_empty_the_table(mariadb: Database) -> None:
    today = time.time_ns() // 1000 // DAY_US
    enforce_retention(mariadb.engine(), time.time_ns() // 1000, retention_days=90)
    insert_days(mariadb, *range(today - 80, today + 1))
    for statement in (
        f"call reccom_maintain_partitions({today + 10_000}, 1)",
        f"set timestamp = {(today + 10_000) * 86_400}; call reccom_maintain_partitions({today}, 1)",
        f"call reccom_upkeep_at({today + 10_000})",
        f"set timestamp = {(today + 10_000) * 86_400}; call reccom_upkeep()",
        "update upkeep set retention_days = 1",
        "replace into upkeep values (1, 1, null, 0)",
        "insert into upkeep values (1, 1, null, 0) on duplicate key update retention_days = 1",
    ):
        with contextlib.suppress(sa.exc.DBAPIError), mariadb.engine().begin() as connection:
            for part in statement.split("; "):
                connection.exec_driver_sql(part)
    keep_up(mariadb, today)
    assert read_days(mariadb) == list(range(today - 80, today + 1))
    assert len(partitions(mariadb)) == 5


def test_a_clock_that_is_200_days_ahead_and_back_costs_no_record(mariadb: Database) -> None:
    today = time.time_ns() // 1000 // DAY_US
    keep_up(mariadb, today)
    insert_days(mariadb, *range(today - 80, today + 1))
    for ahead in (200, 200, 201):
        keep_up(mariadb, today + ahead)
    insert_days(mariadb, today + 201)
    for day in (0, 0, 1):
        keep_up(mariadb, today + day)
    kept = [*range(today - 80, today + 1), today + 201]
    assert read_days(mariadb) == kept
    assert partitions(mariadb) == [*(f"d{today + n}" for n in range(5)), "later"]
    insert_days(mariadb, today + 1)
    for day in range(2, 92):
        keep_up(mariadb, today + day)
    assert read_days(mariadb) == [today + 1, today + 201]


def test_a_stack_that_was_stopped_for_a_month_continues(mariadb: Database) -> None:
    today = time.time_ns() // 1000 // DAY_US
    set_retention(mariadb.engine("marquee_owner"), 20)
    keep_up(mariadb, today)
    insert_days(mariadb, today, today + 30)
    for day in range(30, 38):
        assert read_days(mariadb)[0] == today
        keep_up(mariadb, today + day)
    assert read_days(mariadb) == [today + 30]
    assert partitions(mariadb) == [*(f"d{today + n}" for n in range(30, 41)), "later"]


def test_an_interrupted_first_migration_is_completed_by_the_next(mariadb: Database) -> None:
    mariadb.query(f"drop table {TABLES}")
    engine = mariadb.engine("marquee_owner")
    upgrade(engine)
    tables = mariadb.query("show tables").split()
    complete = [mariadb.query(f"show create table {table}") for table in tables]
    mariadb.query(f"drop table {TABLES}")
    interruptions = 0
    while interrupt_migrations(engine, 1):
        interruptions += 1
    assert interruptions == len(tables) + 5  # two indexes, two columns, and the partitions
    assert [mariadb.query(f"show create table {table}") for table in tables] == complete
    keep_up(mariadb, 20_000)
    assert partitions(mariadb)[-2:] == ["d20003", "later"]


def test_the_trace_command_prints_what_was_recorded(
    mariadb: Database, environment: Environment
) -> None:
    write_records(environment, 20)
    environment.shipper(mariadb.engine()).ship()
    settings = {**mariadb.settings(), "MARQUEE_LOG_LEVEL": "error"}
    done = marquee("trace", "--request", make_record(7).request_id, **settings)
    assert done.returncode == 0, done.stderr
    assert f"request_id                {make_record(7).request_id}\n" in done.stdout
    assert marquee("trace", "--user", "42", "--last", "3", **settings).stdout.count("slot ") == 3


def test_a_backup_of_sqlite_is_restored_in_mariadb_and_back(
    mariadb: Database, environment: Environment, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("app.provenance.backup._CHUNK_ROWS", 700)
    write_records(environment, 3000)
    environment.shipper(environment.engine()).ship()
    first, second = io.BytesIO(), io.BytesIO()
    counts = write_backup(environment.engine(), tmp_path / "none", first)
    first.seek(0)
    assert restore_backup(mariadb.engine(), tmp_path / "none", first) == counts
    assert counts["reccom"] == 3000
    write_backup(mariadb.engine(), tmp_path / "none", second)
    second.seek(0)
    again = connect(Settings(database=f"sqlite:///{tmp_path}/again.db"))
    restore_backup(again, tmp_path / "none", second)
    assert content(again) == content(environment.engine())


def test_the_owner_removes_the_records_of_a_user(mariadb: Database, tmp_path: Path) -> None:
    insert_days(mariadb, 20_000, 20_001)
    mariadb.query("update reccom set user_id = 2 where day = 20001")
    local = {"MARQUEE_STORE_DIR": f"{tmp_path}/none", "MARQUEE_SPOOL_DIR": f"{tmp_path}/none"}
    refused = marquee("forget", "2", **mariadb.settings(), **local)
    assert refused.returncode == 1
    assert "DELETE command denied" in refused.stderr
    done = marquee("forget", "2", **mariadb.settings("marquee_owner"), **local)
    assert done.returncode == 0, done.stderr
    assert read_days(mariadb) == [20_000]


@pytest.mark.parametrize("command", ["migrate", "trace --user 1"])
def test_a_wrong_password_is_reported_in_one_line(mariadb: Database, command: str) -> None:
    settings = {**mariadb.settings("marquee_owner")}
    del settings["MARQUEE_DATABASE_PASSWORD_FILE"]
    done = marquee(*command.split(), **settings, MARQUEE_DATABASE_PASSWORD="wrong")
    assert done.returncode == 1
    assert "Access denied for user 'marquee_owner'" in done.stderr.splitlines()[-1]
