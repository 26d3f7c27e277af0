"""The tables: equal to what the migrations create, and the day that a request belongs to."""

import importlib
import io
from pathlib import Path

import pytest
import sqlalchemy as sa
from alembic.migration import MigrationContext
from alembic.operations import Operations
from sqlalchemy.dialects import mysql, sqlite
from sqlalchemy.schema import CreateColumn, CreateIndex

from app.provenance.database import connect, upgrade
from app.provenance.tables import (
    is_request_id,
    metadata,
    partition_day,
    quality,
    request_time_us,
    upkeep,
)
from app.service.recommend import new_request_id
from app.settings import Settings
from tests.support.provenance import RANDOM_PART

MIGRATIONS = [
    importlib.import_module(f"app.provenance.migrations.versions.{name}")
    for name in ("0001_tables", "0002_recent_events", "0003_upkeep", "0004_quality", "0005_audit")
]


def one_line(statement: object) -> str:
    return " ".join(str(statement).split())


@pytest.mark.parametrize("dialect", [sqlite.dialect(), mysql.dialect()])
def test_the_migrations_create_the_declared_tables(dialect: sa.Dialect) -> None:
    output = io.StringIO()
    context = MigrationContext.configure(
        dialect=dialect, opts={"as_sql": True, "output_buffer": output}
    )
    with Operations.context(context):
        for migration in MIGRATIONS:
            migration.upgrade()
    created = one_line(output.getvalue())
    for table in (*metadata.tables.values(), upkeep, quality):
        assert f"CREATE TABLE {table.name} (" in created
        for column in table.columns:
            assert one_line(CreateColumn(column).compile(dialect=dialect)) in created
        for index in table.indexes:
            assert one_line(CreateIndex(index).compile(dialect=dialect)) in created


def test_each_migration_leaves_tables_that_the_version_before_can_write(tmp_path: Path) -> None:
    engine = connect(Settings(database=f"sqlite:///{tmp_path}/p.db"))
    upgrade(engine)
    found = sa.inspect(engine)
    for table in metadata.tables.values():
        columns = {c["name"]: c["nullable"] for c in found.get_columns(table.name)}
        assert columns == {c.name: bool(c.nullable) for c in table.columns}
    added = {c.name for c in metadata.tables["reccom"].columns if c.nullable}
    assert added == {"configuration_id", "recent_events"}


@pytest.mark.parametrize(
    ("request_id", "time_us"),
    [
        (f"1700000000.123-{RANDOM_PART}", 1_700_000_000_123_000),
        ("17979cfe362a0000" + "0" * 8, 1_700_000_000_000_000),
        ("1700000000.12-x", None),
        ("mine", None),
    ],
)
def test_the_time_of_a_request_is_read_from_its_id(request_id: str, time_us: int | None) -> None:
    assert request_time_us(request_id) == time_us


def test_a_request_belongs_to_the_day_of_its_id() -> None:
    midnight = 20_000 * 86_400
    before_midnight = f"{midnight - 1}.900-{RANDOM_PART}"
    assert partition_day(before_midnight, midnight * 10**6 + 5) == 19_999
    assert partition_day("mine", midnight * 10**6 + 5) == 20_000
    assert partition_day(new_request_id(), 0) > 20_000


def test_ids_of_nginx_and_of_slots_are_request_ids() -> None:
    assert is_request_id(f"1700000000.123-{RANDOM_PART}")
    assert is_request_id(new_request_id())
    assert not is_request_id("mine")
