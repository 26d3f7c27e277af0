from pathlib import Path
from threading import Timer

import pytest
import sqlalchemy as sa

from app.provenance.database import connect, get_revision, wait_until_connected
from app.settings import Settings
from tests.support.commands import invoke


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
