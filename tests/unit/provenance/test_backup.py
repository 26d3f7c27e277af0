import io
import json
import tarfile
from pathlib import Path

import pytest
import sqlalchemy as sa
from click.testing import CliRunner

from app.cli import marquee
from app.ingest.errors import IngestError
from app.ingest.ingest_files import ingest_log_files
from app.ingest.log_parser import RatingScale
from app.ingest.store_files import Manifest, lock_directory, write_manifest
from app.order_audit import append_order
from app.orders import create_order
from app.provenance.audit import AuditCopier
from app.provenance.backup import BackupError, restore_backup, write_backup
from app.provenance.database import connect, upgrade
from app.provenance.lineage import Lineage
from app.provenance.tables import build
from app.settings import Settings
from tests.conftest import ROOT
from tests.support.provenance import Environment, content, encoded, make_record


@pytest.fixture
def filled(environment: Environment, tmp_path: Path) -> Environment:
    writer = environment.writer()
    for number in range(500):
        writer.append(encoded(number))
    environment.shipper(environment.engine()).ship()
    log = tmp_path / "stream.log"
    log.write_text("2022-11-14T12:24,388907,GET /data/m/whiplash+2014/42.mpg\n")
    ingest_log_files([str(log)], tmp_path / "store", RatingScale(1, 5))
    return environment


@pytest.mark.parametrize("rows", [20_000, 500, 7])
def test_a_restored_backup_equals_the_original(
    filled: Environment, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, rows: int
) -> None:
    monkeypatch.setattr("app.provenance.backup._CHUNK_ROWS", rows)
    archive = io.BytesIO()
    given = create_order("abort", "", "Ada in the console: a test")
    append_order(tmp_path, given, 1.5, "127.0.0.1")
    AuditCopier(tmp_path).copy(filled.engine())
    counts = write_backup(filled.engine(), tmp_path / "store", archive)
    assert counts == {
        "tracking": 1,
        "build": 1,
        "configuration": 1,
        "catalogue": 1,
        "audit": 1,
        "reccom": 500,
        "store": 2,
    }
    archive.seek(0)
    empty = connect(Settings(database=f"sqlite:///{tmp_path}/empty.db"))
    assert restore_backup(empty, tmp_path / "new" / "store", archive) == counts
    assert content(empty) == content(filled.engine())
    for file in (tmp_path / "store").iterdir():
        if file.suffix in (".json", ".parquet"):
            assert (tmp_path / "new" / "store" / file.name).read_bytes() == file.read_bytes()
    (traced,) = Lineage(empty).find_request(make_record(3).request_id)
    assert traced["movie_ids"]


def test_restoring_again_changes_nothing(filled: Environment, tmp_path: Path) -> None:
    archive = io.BytesIO()
    write_backup(filled.engine(), tmp_path / "store", archive)
    before = content(filled.engine())
    archive.seek(0)
    counts = restore_backup(filled.engine(), tmp_path / "store", archive)
    assert counts["store"] == 0
    assert content(filled.engine()) == before


def test_a_store_without_events_is_restored(filled: Environment, tmp_path: Path) -> None:
    """The store of a collector that has not received any message yet."""
    archive = io.BytesIO()
    write_backup(filled.engine(), tmp_path / "store", archive)
    archive.seek(0)
    new = tmp_path / "new"
    new.mkdir()
    write_manifest(new, Manifest(offsets={"stream": 7}))
    with (
        lock_directory(new, "the store"),
        pytest.raises(IngestError, match="being written by process"),
    ):
        restore_backup(filled.engine(), new, archive)
    archive.seek(0)
    assert restore_backup(filled.engine(), new, archive)["store"] == 2
    assert (new / "manifest.json").read_bytes() == (
        tmp_path / "store" / "manifest.json"
    ).read_bytes()
    write_manifest(new, Manifest())  # files that no manifest names are overwritten
    archive.seek(0)
    assert restore_backup(filled.engine(), new, archive)["store"] == 2


@pytest.mark.parametrize("seekable", [True, False])
def test_a_backup_that_was_cut_is_refused(
    filled: Environment, tmp_path: Path, seekable: bool
) -> None:
    archive = io.BytesIO()
    write_backup(filled.engine(), tmp_path / "store", archive)
    for share in (0, 0.001, 0.1, 0.3, 0.5, 0.7, 0.9, 0.95, 0.99, 0.9999):
        size = int(len(archive.getvalue()) * share)
        check_refused(tmp_path, Pipe(archive.getvalue()[:size], seekable))


def test_a_backup_that_was_cut_between_two_members_is_refused(
    filled: Environment, tmp_path: Path
) -> None:
    """The file is a whole archive, but some of its members are missing."""
    whole = io.BytesIO()
    write_backup(filled.engine(), tmp_path / "store", whole)
    whole.seek(0)
    with tarfile.open(fileobj=whole) as source:
        members = source.getmembers()
        assert len(members) == 9
        for count in range(len(members)):
            cut = io.BytesIO()
            with tarfile.open(fileobj=cut, mode="w:gz") as target:
                for member in members[:count]:
                    target.addfile(member, source.extractfile(member))
            check_refused(tmp_path, Pipe(cut.getvalue(), seekable=True))


def test_a_backup_with_fewer_rows_than_it_says_is_refused(
    filled: Environment, tmp_path: Path
) -> None:
    whole, changed = io.BytesIO(), io.BytesIO()
    write_backup(filled.engine(), tmp_path / "store", whole)
    whole.seek(0)
    with tarfile.open(fileobj=whole) as source, tarfile.open(fileobj=changed, mode="w:gz") as out:
        for member in source.getmembers():
            content = source.extractfile(member)
            assert content is not None
            lines = content.read()
            if member.name.startswith("reccom"):
                lines = lines[: lines.index(b"\n") + 1]
            member.size = len(lines)
            out.addfile(member, io.BytesIO(lines))
    check_refused(tmp_path, Pipe(changed.getvalue(), seekable=True))


class Pipe(io.BytesIO):
    """An archive in a file, or from a pipe, which can be read once."""

    def __init__(self, content: bytes, seekable: bool) -> None:
        super().__init__(content)
        self._seekable = seekable

    def seekable(self) -> bool:
        return self._seekable


def check_refused(tmp_path: Path, archive: Pipe) -> None:
    """Check that an archive is refused before anything is written."""
    empty = connect(Settings(database=f"sqlite:///{tmp_path}/empty.db"))
    with pytest.raises((BackupError, IngestError)):  # the second: a damaged manifest
        restore_backup(empty, tmp_path / "new", archive)
    assert list((tmp_path / "new").glob("*")) == []
    assert not (tmp_path / "empty.db").exists()


def test_a_damaged_backup_is_refused_in_a_sentence(filled: Environment, tmp_path: Path) -> None:
    archive = io.BytesIO()
    write_backup(filled.engine(), tmp_path / "store", archive)
    whole = archive.getvalue()
    for position in range(10, len(whole), len(whole) // 40):  # after the header of gzip
        damaged = bytearray(whole)
        damaged[position] ^= 0x55
        check_refused(tmp_path, Pipe(bytes(damaged), seekable=True))


def test_a_backup_whose_store_is_of_a_later_version_is_refused_before_anything_is_written(
    tmp_path: Path,
) -> None:
    members = {
        "backup.json": {"format": 2, "revision": "0001"},
        "store/manifest.json": {"format": 9},
        "end.json": {"counts": {}},
    }
    empty = connect(Settings(database=f"sqlite:///{tmp_path}/empty.db"))
    with pytest.raises(IngestError, match="a store of format 9"):
        restore_backup(empty, tmp_path / "new", add_members(**members))
    assert not (tmp_path / "empty.db").exists()


def test_a_backup_that_comes_through_a_pipe_is_restored(
    filled: Environment, tmp_path: Path
) -> None:
    archive = io.BytesIO()
    counts = write_backup(filled.engine(), tmp_path / "store", archive)
    empty = connect(Settings(database=f"sqlite:///{tmp_path}/empty.db"))
    pipe = Pipe(archive.getvalue(), seekable=False)
    assert restore_backup(empty, tmp_path / "new", pipe) == counts
    assert content(empty) == content(filled.engine())
    names = {file.name for file in (tmp_path / "store").iterdir()}
    assert {file.name for file in (tmp_path / "new").iterdir()} == names


def test_a_backup_of_sqlite_is_one_snapshot(filled: Environment, tmp_path: Path) -> None:
    """Rows that are written while the tables are read are in none of them."""
    engine, archive = filled.engine(), io.BytesIO()
    before = content(engine)

    def insert_row(_1: object, _2: object, statement: str, *_3: object) -> None:
        if "FROM tracking" in statement:
            with filled.engine().begin() as connection:
                row = {"build_id": "new", "version_number": 9, "model_hash": "h"}
                connection.execute(
                    sa.insert(build)
                    .prefix_with("OR IGNORE")
                    .values(**row, git_commit="c", image_digest="d")
                )

    sa.event.listen(engine, "after_cursor_execute", insert_row)
    counts = write_backup(engine, tmp_path / "store", archive)
    assert counts["build"] == len(before["build"]) == len(content(engine)["build"]) - 1
    archive.seek(0)
    empty = connect(Settings(database=f"sqlite:///{tmp_path}/empty.db"))
    restore_backup(empty, tmp_path / "new", archive)
    assert content(empty) == before


def test_another_archive_is_rejected(environment: Environment, tmp_path: Path) -> None:
    other = io.BytesIO()
    with tarfile.open(fileobj=other, mode="w:gz") as archive:
        archive.add(ROOT / "README.md", "backup.json")
    other.seek(0)
    with pytest.raises(BackupError):
        restore_backup(environment.engine(), tmp_path / "new", other)


def add_members(**members: object) -> io.BytesIO:
    """An archive with these members as JSON."""
    out = io.BytesIO()
    with tarfile.open(fileobj=out, mode="w:gz") as archive:
        for name, value in members.items():
            text = json.dumps(value).encode()
            member = tarfile.TarInfo(name)
            member.size = len(text)
            archive.addfile(member, io.BytesIO(text))
    out.seek(0)
    return out


@pytest.mark.parametrize(
    ("header", "reason"),
    [
        ({"format": 3}, "a backup of format 3; this version reads formats 1 and 2"),
        ({"format": 2, "revision": "9999"}, "tables of revision 9999, which this version does not"),
        ({"format": 2}, "tables of revision None, which this version does not know"),
        (
            {"format": 1, "revision": "0001"},
            r"a column build\.region that this version does not know",
        ),
    ],
)
def test_a_backup_of_a_later_version_is_refused_in_a_sentence(
    environment: Environment, tmp_path: Path, header: dict[str, object], reason: str
) -> None:
    row = {"build_id": "7", "region": "eu"}
    later = add_members(**{"backup.json": header, "build/000000.jsonl": row})
    with pytest.raises(BackupError, match=reason):
        restore_backup(environment.engine(), tmp_path / "new", later)


def test_a_backup_is_not_restored_into_tables_that_are_older(
    filled: Environment, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    archive = io.BytesIO()
    write_backup(filled.engine(), tmp_path / "store", archive)
    archive.seek(0)
    older = connect(Settings(database=f"sqlite:///{tmp_path}/older.db"))
    upgrade(older)
    with older.begin() as connection:
        connection.execute(sa.text("update alembic_version set version_num = '0001'"))
    # In MariaDB another user owns the tables, and restoring does not migrate them.
    monkeypatch.setattr("app.provenance.backup.upgrade", lambda _: None)
    with pytest.raises(BackupError, match=r"revision 0001, older than .*: run `marquee migrate`"):
        restore_backup(older, tmp_path / "new", archive)
    assert not any(content(older).values())


def test_a_backup_of_version_0_2_0_is_restored(environment: Environment, tmp_path: Path) -> None:
    row = {
        "build_id": "7", "version_number": 1, "model_hash": "h", "git_commit": "c",
        "image_digest": "d",
    }  # fmt: skip
    header = {"format": 1, "revision": "0001"}
    old = add_members(**{"backup.json": header, "build/000000.jsonl": row})
    assert restore_backup(environment.engine(), tmp_path / "new", old)["build"] == 1


def test_the_commands_back_up_to_a_file_and_restore_from_it(
    filled: Environment, tmp_path: Path
) -> None:
    variables = {
        "MARQUEE_DATABASE": filled.settings.database,
        "MARQUEE_STORE_DIR": str(tmp_path / "store"),
        "MARQUEE_LOG_LEVEL": "error",
    }
    file = str(tmp_path / "all.tar.gz")
    runner = CliRunner()
    assert runner.invoke(marquee, ["backup", file], env=variables).exit_code == 0
    variables["MARQUEE_DATABASE"] = f"sqlite:///{tmp_path}/again.db"
    variables["MARQUEE_STORE_DIR"] = str(tmp_path / "again")
    result = runner.invoke(marquee, ["restore-backup", file], env=variables)
    assert result.exit_code == 0, result.stderr
    assert json.loads(result.stderr)["reccom"] == 500
    assert (tmp_path / "again" / "manifest.json").exists()


def test_a_backup_that_fails_leaves_the_file_as_it_was(filled: Environment, tmp_path: Path) -> None:
    (tmp_path / "store" / "manifest.json").write_text("damaged")
    file = tmp_path / "files" / "all.tar.gz"
    file.parent.mkdir()
    file.write_text("the backup before")
    variables = {
        "MARQUEE_DATABASE": filled.settings.database,
        "MARQUEE_STORE_DIR": str(tmp_path / "store"),
    }
    result = CliRunner().invoke(marquee, ["backup", str(file)], env=variables)
    assert result.exit_code == 1
    assert "manifest" in result.stderr
    assert file.read_text() == "the backup before"
    assert list(file.parent.iterdir()) == [file]
