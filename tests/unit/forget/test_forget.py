"""`marquee forget` with a real store, spool and SQLite database; MariaDB: test_mariadb.py."""

import io
import json
import subprocess
import sys
from pathlib import Path

import polars as pl
import pytest
import sqlalchemy as sa

from app.ingest.ingest_files import ingest_log_files
from app.ingest.log_parser import RatingScale
from app.ingest.metadata.parse import USERS
from app.ingest.metadata.table import MetadataTable
from app.ingest.metadata_files import METADATA_DIR, USERS_FILE
from app.ingest.store_files import lock_directory
from app.locks import exclusive_lock
from app.provenance.backup import write_backup
from app.provenance.shipper import LOCK_FILE
from app.recent_activity.table_format import TABLE_NAME
from app.telemetry.exports import ExportDirectory
from tests.conftest import ROOT
from tests.support.commands import invoke
from tests.support.provenance import Environment, content, encoded
from tests.support.store_contents import read_store

USER, OTHER = 388907001, 388907002
LINES = """\
2022-11-14T12:24,{0},GET /data/m/whiplash+2014/42.mpg
2022-11-14T12:25,{0},GET /data/m/whiplash+2014/43.mpg
2022-11-14T12:26,{0},GET /rate/whiplash+2014=5
2022-11-14T12:24,{1},GET /data/m/whiplash+2014/42.mpg
2022-11-14T12:27,{1},GET /rate/whiplash+2014=4
"""


class World:
    """A store, a spool with shipped and waiting records, and a database, of two users."""

    def __init__(self, directory: Path, model: Path) -> None:
        self.directory = directory
        self.provenance = Environment(directory, model)
        self.store = directory / "store"
        self.recent = directory / "recent"
        log = directory.parent / "stream.log"
        log.write_text(LINES.format(USER, OTHER))
        ingest_log_files([str(log)], self.store, RatingScale(1, 5))
        settings = self.settings | {"MARQUEE_RECENT_MAX_USERS": "100"}
        done = invoke("follow", "--file", log, stdin=b"", **settings)
        assert done.returncode == 0, done.stderr
        (self.store / METADATA_DIR).mkdir()
        table = MetadataTable(self.store / METADATA_DIR / USERS_FILE, USERS)
        table.add([USER, OTHER], {})
        table.save()
        self.writer = self.provenance.writer()
        self.append(0, 10)
        self.provenance.shipper(self.provenance.engine()).ship()
        self.append(10, 20)

    def append(self, start: int, stop: int) -> None:
        for number in range(start, stop):
            self.writer.append(encoded(number, user_id=USER if number % 2 else OTHER))

    @property
    def settings(self) -> dict[str, str]:
        return {
            "MARQUEE_STORE_DIR": str(self.store),
            "MARQUEE_RECENT_DIR": str(self.recent),
            "MARQUEE_SPOOL_DIR": str(self.provenance.spool),
            "MARQUEE_DATABASE": self.provenance.settings.database,
            "MARQUEE_EXPORT_DIR": str(self.directory / "exports"),
        }

    def forget(self) -> dict[str, int]:
        done = invoke("forget", USER, "--json", stdin=b"", **self.settings)
        assert done.returncode == 0, done.stderr
        removed: dict[str, int] = json.loads(done.stdout)
        return removed

    def find(self, user: int) -> list[str]:
        """The files that hold the id of a user, as text or as a number of eight bytes."""
        needles = (str(user).encode(), user.to_bytes(8, "little"), user.to_bytes(8, "big"))
        files = [path for path in self.directory.rglob("*") if path.is_file()]
        return [path.name for path in files if any(n in path.read_bytes() for n in needles)]


@pytest.fixture
def world(tmp_path: Path, shared_model: Path) -> World:
    directory = tmp_path / "volumes"
    directory.mkdir()
    return World(directory, shared_model)


def test_nothing_of_the_user_remains(world: World) -> None:
    assert TABLE_NAME in world.find(USER)
    assert world.forget() == {
        "watches": 1, "ratings": 1, "metadata": 1, "spool_records": 10, "records": 5,
        "exported": 0,
    }  # fmt: skip
    world.append(20, 21)  # the service is still writing to the same file
    watches, ratings = read_store(world.store)
    assert set(watches["user_id"]) == set(ratings["user_id"]) == {OTHER}
    metadata = pl.read_parquet(world.store / METADATA_DIR / USERS_FILE)
    assert metadata["user_id"].to_list() == [OTHER]
    engine = world.provenance.engine()
    world.provenance.shipper(engine).ship()
    with engine.connect() as connection:
        users = connection.scalars(sa.text("select user_id from reccom")).all()
    assert users == [OTHER] * 11
    assert world.find(USER) == []
    assert TABLE_NAME in world.find(OTHER)


def test_the_next_version_and_the_next_backup_do_not_have_the_user(world: World) -> None:
    world.forget()
    prepared = world.directory / "prepared"
    done = invoke("prepare", "--out", prepared, stdin=b"", **world.settings)
    assert done.returncode == 0, done.stderr
    assert set(pl.read_parquet(prepared / "ratings.parquet")["user_id"]) == {OTHER}
    assert set(pl.read_parquet(prepared / "watches.parquet")["user_id"]) == {OTHER}
    archive = io.BytesIO()
    write_backup(world.provenance.engine(), world.store, archive)
    assert world.find(USER) == []


def test_forgetting_again_removes_nothing(world: World) -> None:
    world.forget()
    before = content(world.provenance.engine())
    assert set(world.forget().values()) == {0}
    assert content(world.provenance.engine()) == before


def test_a_removal_that_was_killed_is_completed_by_the_next(world: World, tmp_path: Path) -> None:
    world.writer.close()
    world.directory.rename(tmp_path / "data")
    command = [sys.executable, "-m", "tests.support.killed_forget", tmp_path, USER, 7]
    done = subprocess.run([*map(str, command)], cwd=ROOT, check=True, capture_output=True)
    result = json.loads(done.stdout)
    assert (result["status"], result["failures"]) == (0, {})
    assert result["tried"] >= 8


def test_what_a_killed_process_has_left_in_the_metadata_is_removed(world: World) -> None:
    (world.store / METADATA_DIR / f".{USERS_FILE}.7").write_bytes(USER.to_bytes(8, "little"))
    world.forget()
    assert world.find(USER) == []


def test_a_reader_of_sqlite_that_keeps_the_records_in_the_log_is_reported(world: World) -> None:
    with world.provenance.engine().connect() as reader:
        reader.exec_driver_sql("BEGIN")
        reader.execute(sa.text("select count(*) from reccom")).all()
        done = invoke("forget", USER, stdin=b"", **world.settings)
    assert done.returncode == 1
    assert b"repeat the command when that has ended" in done.stderr
    assert world.forget()["records"] == 0
    assert world.find(USER) == []


def test_nothing_is_changed_while_another_process_has_the_store_or_the_spool(world: World) -> None:
    for lock, reason in (
        (lock_directory(world.store, "the store"), b"is being written by process"),
        (exclusive_lock(world.provenance.spool / LOCK_FILE), b"is being read by a shipper"),
        (ExportDirectory(world.directory / "exports").lock(), b"is being written by"),
    ):
        with lock:
            done = invoke("forget", USER, stdin=b"", **world.settings)
        assert done.returncode == 1
        assert reason in done.stderr
    assert set(world.forget().values()) == {0, 1, 5, 10}


def test_a_user_without_any_data_is_no_error(tmp_path: Path) -> None:
    settings = {
        "MARQUEE_STORE_DIR": f"{tmp_path}/store",
        "MARQUEE_RECENT_DIR": f"{tmp_path}/recent",
        "MARQUEE_SPOOL_DIR": f"{tmp_path}/spool",
        "MARQUEE_DATABASE": f"sqlite:///{tmp_path}/p.db",
    }
    done = invoke("forget", USER, stdin=b"", **settings)
    assert done.returncode == 0
    assert done.stdout.split(b"\n")[0].split() == [b"watches", b"0"]
    assert list(tmp_path.iterdir()) == []
