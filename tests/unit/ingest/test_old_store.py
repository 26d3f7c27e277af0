"""A store of an earlier version is read and continued; one of a later format stays unchanged."""

import json
import shutil
from pathlib import Path

import polars as pl
import pytest

from app.ingest.errors import IngestError
from app.ingest.ingest_files import ingest_log_files
from app.ingest.log_parser import ONE_TO_FIVE
from app.ingest.schemas import RATING_EVENTS, WATCH_EVENTS
from app.ingest.store_copy import copy_store, restore_store
from app.ingest.store_files import read_manifest
from app.ingest.store_stats import describe_store
from app.ingest.store_writer import open_writer
from tests.conftest import ROOT
from tests.support.commands import invoke
from tests.support.store_contents import read_store

#: Collected by version 0.2.0 from `lines.log`; see the README there.
OLD = ROOT / "tests" / "formats" / "0.2.0"
LATER = {"format": 2, "partitions": 64, "tables": {"watches": []}}


@pytest.fixture
def store(tmp_path: Path) -> Path:
    return shutil.copytree(OLD / "store", tmp_path / "store")


def test_a_store_of_version_0_2_0_has_the_events_that_were_collected(
    store: Path, tmp_path: Path
) -> None:
    ingest_log_files([str(OLD / "lines.log")], tmp_path / "new", ONE_TO_FIVE)
    for old, new in zip(read_store(store), read_store(tmp_path / "new"), strict=True):
        assert old.equals(new)
        assert old.height == 48
    assert describe_store(store)["users"] == 12


def test_a_store_of_version_0_2_0_is_continued_and_compacted(store: Path) -> None:
    before = read_store(store)[0].height
    line = "2022-11-09T10:11:12,{},GET /data/m/the+movie+1+1991/0.mpg\n"
    for user in range(100, 110):  # more commits than there may be segments
        (store.parent / "line.log").write_text(line.format(user))
        ingest_log_files([str(store.parent / "line.log")], store, ONE_TO_FIVE)
    manifest = read_manifest(store)
    assert manifest is not None
    assert len(manifest.watches) < 8
    assert read_store(store)[0].height == before + 10


def test_a_store_of_a_later_format_stays_unchanged(store: Path) -> None:
    manifest = store / "manifest.json"
    manifest.write_text(json.dumps(LATER))
    names = {path.name for path in store.iterdir()}
    reason = r"manifest\.json: a store of format 2; this program reads and writes format 1"
    with pytest.raises(IngestError, match=reason), open_writer(store) as writer:
        writer.commit(pl.DataFrame(schema=WATCH_EVENTS), pl.DataFrame(schema=RATING_EVENTS))
    with pytest.raises(IngestError, match=reason):
        copy_store(store, store.parent / "copy")
    assert {path.name for path in store.iterdir()} - {"lock"} == names
    assert json.loads(manifest.read_bytes()) == LATER
    done = invoke("data", "stats", "--store", store)
    assert done.returncode == 1
    assert b"run the version that has written it" in done.stderr


def test_a_backup_of_a_store_of_a_later_format_is_refused(store: Path, tmp_path: Path) -> None:
    (store / "manifest.json").write_text(json.dumps(LATER))
    reason = r"manifest\.json of the backup: a store of format 2"
    with (
        pytest.raises(IngestError, match=reason),
        restore_store(tmp_path / "restored") as restorer,
        (store / "manifest.json").open("rb") as content,
    ):
        assert restorer is not None
        restorer.write_file("manifest.json", content)
