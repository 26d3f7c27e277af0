from itertools import count
from pathlib import Path
from threading import Timer

import pytest
import sqlalchemy as sa

from app.provenance.database import (
    connect,
    get_revision,
    list_revisions,
    upgrade,
    wait_until_connected,
)
from app.settings import Settings
from tests.support.commands import invoke
from tests.support.provenance import interrupt_migrations


@pytest.fixture
def database(tmp_path: Path) -> Path:
    """The path of a database that cannot be opened, because it is a directory."""
    path = tmp_path / "p.db"
    path.mkdir()
    return path


def test_migrate_waits_for_a_server_that_accepts_the_connection_later(database: Path) -> None:
    url = f"sqlite:///{database}"
    timer = Timer(0.2, database.rmdir)
    timer.start()
    assert invoke("migrate", "--wait", "60", MARQUEE_DATABASE=url).returncode == 0
    timer.join()
    assert get_revision(connect(Settings(database=url)))


def test_migrate_reports_a_server_that_does_not_accept_the_connection(database: Path) -> None:
    done = invoke("migrate", MARQUEE_DATABASE=f"sqlite:///{database}")
    assert done.returncode == 1
    assert b"Error: database: unable to open database file" in done.stderr


def test_a_wait_ends(database: Path) -> None:
    with pytest.raises(sa.exc.OperationalError):
        wait_until_connected(connect(Settings(database=f"sqlite:///{database}")), 0.1)


def read_schema(database: Path) -> list[tuple[str, ...]]:
    with connect(Settings(database=f"sqlite:///{database}")).connect() as connection:
        query = "select name, tbl_name, sql from sqlite_master order by name"
        return [tuple(row) for row in connection.execute(sa.text(query))]


def test_an_interrupted_first_migration_is_completed_by_the_next(tmp_path: Path) -> None:
    whole = tmp_path / "whole.db"
    upgrade(connect(Settings(database=f"sqlite:///{whole}")))
    for created in count(1):
        interrupted = tmp_path / f"{created}.db"
        engine = connect(Settings(database=f"sqlite:///{interrupted}"))
        if not interrupt_migrations(engine, created):
            break
        upgrade(engine)
        assert read_schema(interrupted) == read_schema(whole)
        assert get_revision(engine) == list_revisions()[-1]
    assert created == 14  # nine tables, with alembic's, two indexes, two columns


def test_migrate_sets_the_retention_of_the_upkeep(tmp_path: Path) -> None:
    url = f"sqlite:///{tmp_path}/p.db"
    for days in ("30", "60"):
        done = invoke("migrate", MARQUEE_DATABASE=url, MARQUEE_PROVENANCE_RETENTION_DAYS=days)
        assert done.returncode == 0, done.stderr
        with connect(Settings(database=url)).connect() as connection:
            assert connection.scalar(sa.text("select retention_days from upkeep")) == int(days)
