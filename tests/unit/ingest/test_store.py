import multiprocessing
from datetime import datetime
from pathlib import Path

import polars as pl
import pytest

from app.ingest import store_writer
from app.ingest.errors import IngestError
from app.ingest.schemas import RATING_EVENTS, WATCH_EVENTS
from app.ingest.store_files import Manifest, read_manifest
from app.ingest.store_reader import open_store
from app.ingest.store_writer import open_writer

from .contents import contents, watches

NOON = datetime(2022, 11, 14, 12)
NO_RATINGS = pl.DataFrame(schema=RATING_EVENTS)


def watched(*users: int, minute: int = 0) -> pl.DataFrame:
    rows = [(user, "up+2009", minute, NOON) for user in users]
    return pl.DataFrame(rows, schema=WATCH_EVENTS, orient="row")


def manifest_of(store: Path) -> Manifest:
    manifest = read_manifest(store)
    assert manifest is not None
    return manifest


def test_what_was_committed_is_read_back_merged(tmp_path: Path) -> None:
    with open_writer(tmp_path) as writer:
        writer.commit(watched(1, 2, 70), NO_RATINGS)
        writer.commit(watched(2, minute=5), NO_RATINGS)
    rows, ratings = contents(tmp_path)
    assert rows["user_id"].to_list() == [1, 2, 70]
    assert rows["minutes"].to_list() == [[0], [0, 5], [0]]
    assert ratings.is_empty()


def test_positions_are_kept_with_their_data(tmp_path: Path) -> None:
    with open_writer(tmp_path) as writer:
        writer.commit(watched(1), NO_RATINGS, {"movielog1-0": 17})
        writer.commit(watched(2), NO_RATINGS)
    assert manifest_of(tmp_path).offsets == {"movielog1-0": 17}
    with open_writer(tmp_path) as writer:
        assert writer.manifest.offsets == {"movielog1-0": 17}


def test_many_commits_stay_few_files(tmp_path: Path) -> None:
    with open_writer(tmp_path, buckets=4) as writer:
        for user in range(100):
            writer.commit(watched(user, user + 1), NO_RATINGS)
    assert len(manifest_of(tmp_path).watches) <= store_writer.MAX_SEGMENTS
    assert len(list(tmp_path.glob("*.parquet"))) <= store_writer.MAX_SEGMENTS
    assert contents(tmp_path)[0]["user_id"].to_list() == list(range(101))


def test_a_reader_is_not_disturbed_by_a_writer(tmp_path: Path) -> None:
    with open_writer(tmp_path, buckets=4) as writer:
        writer.commit(watched(1), NO_RATINGS)
        with open_store(tmp_path) as view:
            for user in range(2, 30):
                writer.commit(watched(user), NO_RATINGS)
            assert watches(view)["user_id"].to_list() == [1]


def hold_the_lock(store: Path, held: "multiprocessing.synchronize.Event") -> None:
    with open_writer(store):
        held.set()
        multiprocessing.Event().wait(60)


def test_a_second_writer_is_told_who_writes(tmp_path: Path) -> None:
    context = multiprocessing.get_context("spawn")
    held = context.Event()
    process = context.Process(target=hold_the_lock, args=(tmp_path, held), daemon=True)
    process.start()
    assert held.wait(60)
    with pytest.raises(IngestError, match=rf"written by process {process.pid} since \d{{4}}-"):
        open_writer(tmp_path).__enter__()
    process.kill()
    process.join()
    with open_writer(tmp_path):  # the lock of the dead is nobody's
        pass


def test_left_over_files_are_removed_and_foreign_ones_kept(tmp_path: Path) -> None:
    with open_writer(tmp_path) as writer:
        writer.commit(watched(1), NO_RATINGS)
    for name in ("watches-00000099.parquet", ".manifest.json.123", "notes.txt"):
        (tmp_path / name).write_bytes(b"half")
    with open_writer(tmp_path):
        pass
    assert sorted(file.name for file in tmp_path.iterdir()) == [
        "lock",
        "manifest.json",
        "notes.txt",
        "watches-00000001.parquet",
    ]


def test_a_missing_or_damaged_store_is_named(tmp_path: Path) -> None:
    with pytest.raises(IngestError, match="no store at"), open_store(tmp_path):
        pass
    (tmp_path / "manifest.json").write_text('{"format": 2}')
    with pytest.raises(IngestError, match="is not the manifest of a store"), open_store(tmp_path):
        pass


def test_a_missing_or_damaged_file_is_named(tmp_path: Path) -> None:
    with open_writer(tmp_path) as writer:
        writer.commit(watched(1), NO_RATINGS)
    file = tmp_path / "watches-00000001.parquet"
    file.write_bytes(file.read_bytes()[:-9])
    with pytest.raises(IngestError, match=r"watches-00000001\.parquet is damaged"):
        open_store(tmp_path).__enter__()
    file.unlink()
    with pytest.raises(IngestError, match="lacks a file"):
        open_store(tmp_path).__enter__()
