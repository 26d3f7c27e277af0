import io
import json
import tarfile
from pathlib import Path

import pytest
from click.testing import CliRunner

from app.cli import marquee
from app.ingest.errors import IngestError
from app.ingest.ingest_files import ingest_log_files
from app.ingest.log_parser import RatingScale
from app.ingest.store_files import LOCK_NAME, Manifest, lock_directory, write_manifest
from app.provenance.backup import BackupError, restore_backup, write_backup
from app.provenance.database import connect
from app.provenance.lineage import Lineage
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
    counts = write_backup(filled.engine(), tmp_path / "store", archive)
    assert counts == {
        "tracking": 1,
        "build": 1,
        "configuration": 1,
        "catalogue": 1,
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


@pytest.mark.parametrize("share", [0, 0.3, 0.9])
def test_an_incomplete_backup_is_rejected(
    filled: Environment, tmp_path: Path, share: float
) -> None:
    archive = io.BytesIO()
    write_backup(filled.engine(), tmp_path / "store", archive)
    incomplete = io.BytesIO(archive.getvalue()[: int(len(archive.getvalue()) * share)])
    empty = connect(Settings(database=f"sqlite:///{tmp_path}/empty.db"))
    with pytest.raises(BackupError):
        restore_backup(empty, tmp_path / "new", incomplete)
    assert {file.name for file in (tmp_path / "new").glob("*")} <= {LOCK_NAME}


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


def test_a_backup_of_a_later_version_is_refused_in_a_sentence(
    environment: Environment, tmp_path: Path
) -> None:
    header: dict[str, object] = {"format": 1, "revision": "9999"}
    engine, row = environment.engine(), {"build_id": "7", "region": "eu"}
    later = add_members(**{"backup.json": header, "build/000000.jsonl": row})
    with pytest.raises(
        BackupError, match=r"a column build\.region that this version does not know"
    ):
        restore_backup(engine, tmp_path / "new", later)
    later = add_members(**{"backup.json": {"format": 2}})
    with pytest.raises(BackupError, match="a backup of format 2; this version reads format 1"):
        restore_backup(engine, tmp_path / "new", later)


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
