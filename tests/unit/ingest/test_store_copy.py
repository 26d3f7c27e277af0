from datetime import datetime
from pathlib import Path

import polars as pl
import pytest

from app.ingest.errors import IngestError
from app.ingest.schemas import RATING_EVENTS, WATCH_EVENTS
from app.ingest.store_copy import copy_store, open_store_files, restore_store
from app.ingest.store_files import read_manifest
from app.ingest.store_writer import open_writer
from tests.support.store_contents import read_store


@pytest.fixture
def store(tmp_path: Path) -> Path:
    events = [(7, "up+2009", 1, datetime(2022, 11, 14, 12))]
    with open_writer(tmp_path / "store") as writer:
        writer.commit(
            pl.DataFrame(events, schema=WATCH_EVENTS, orient="row"),
            pl.DataFrame(schema=RATING_EVENTS),
            {"movielog-0": 7},
        )
    return tmp_path / "store"


def test_a_copy_has_the_same_events_and_no_offsets(store: Path, tmp_path: Path) -> None:
    copy_store(store, tmp_path / "copy")
    assert read_store(tmp_path / "copy")[0].equals(read_store(store)[0])
    manifest = read_manifest(tmp_path / "copy")
    assert manifest is not None
    assert manifest.offsets == {}


def test_a_missing_store_cannot_be_copied(tmp_path: Path) -> None:
    with pytest.raises(IngestError, match="no store at"):
        copy_store(tmp_path / "none", tmp_path / "copy")


def test_restored_files_equal_the_originals(store: Path, tmp_path: Path) -> None:
    restored = tmp_path / "restored"
    with open_store_files(store) as files, restore_store(restored) as restorer:
        assert restorer is not None
        for file in files:
            restorer.write_file(file.name, file.content)
    assert [file.size for file in files] == [(store / file.name).stat().st_size for file in files]
    for file in files:
        assert (restored / file.name).read_bytes() == (store / file.name).read_bytes()


def test_a_store_with_events_is_not_replaced(store: Path) -> None:
    with restore_store(store) as restorer:
        assert restorer is None


def test_an_incomplete_restore_leaves_no_store(store: Path, tmp_path: Path) -> None:
    restored = tmp_path / "restored"
    with (
        open_store_files(store) as files,
        pytest.raises(IngestError, match="not those that its manifest names"),
        restore_store(restored) as restorer,
    ):
        assert restorer is not None
        restorer.write_file(files[-1].name, files[-1].content)
    assert [file.name for file in restored.iterdir()] == ["lock"]
