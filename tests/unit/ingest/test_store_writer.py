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
from tests.support.store_contents import read_all_watches, read_store

NOON = datetime(2022, 11, 14, 12)
NO_RATINGS = pl.DataFrame(schema=RATING_EVENTS)


def watch_events(*users: int, minute: int = 0) -> pl.DataFrame:
    rows = [(user, "up+2009", minute, NOON) for user in users]
    return pl.DataFrame(rows, schema=WATCH_EVENTS, orient="row")


def load_manifest(store: Path) -> Manifest:
    manifest = read_manifest(store)
    assert manifest is not None
    return manifest


def test_committed_events_are_read_merged(tmp_path: Path) -> None:
    with open_writer(tmp_path) as writer:
        writer.commit(watch_events(1, 2, 70), NO_RATINGS)
        writer.commit(watch_events(2, minute=5), NO_RATINGS)
    rows, ratings = read_store(tmp_path)
    assert rows["user_id"].to_list() == [1, 2, 70]
    assert rows["minutes"].to_list() == [[0], [0, 5], [0]]
    assert ratings.is_empty()


def test_offsets_are_stored_with_the_events(tmp_path: Path) -> None:
    with open_writer(tmp_path) as writer:
        writer.commit(watch_events(1), NO_RATINGS, {"movielog1-0": 17})
        writer.commit(watch_events(2), NO_RATINGS)
    assert load_manifest(tmp_path).offsets == {"movielog1-0": 17}
    with open_writer(tmp_path) as writer:
        assert writer.manifest.offsets == {"movielog1-0": 17}


def test_many_commits_are_compacted_to_few_segments(tmp_path: Path) -> None:
    with open_writer(tmp_path, buckets=4) as writer:
        for user in range(100):
            writer.commit(watch_events(user, user + 1), NO_RATINGS)
    assert len(load_manifest(tmp_path).watches) <= store_writer.MAX_SEGMENTS
    assert len(list(tmp_path.glob("*.parquet"))) <= store_writer.MAX_SEGMENTS
    assert read_store(tmp_path)[0]["user_id"].to_list() == list(range(101))


def test_a_reader_keeps_its_snapshot_while_a_writer_commits(tmp_path: Path) -> None:
    with open_writer(tmp_path, buckets=4) as writer:
        writer.commit(watch_events(1), NO_RATINGS)
        with open_store(tmp_path) as snapshot:
            for user in range(2, 30):
                writer.commit(watch_events(user), NO_RATINGS)
            assert read_all_watches(snapshot)["user_id"].to_list() == [1]


def hold_lock(store: Path, held: "multiprocessing.synchronize.Event") -> None:
    with open_writer(store):
        held.set()
        multiprocessing.Event().wait(60)


def test_a_second_writer_gets_an_error_that_names_the_first(tmp_path: Path) -> None:
    context = multiprocessing.get_context("spawn")
    held = context.Event()
    process = context.Process(target=hold_lock, args=(tmp_path, held), daemon=True)
    process.start()
    assert held.wait(60)
    with pytest.raises(IngestError, match=rf"written by process {process.pid} since \d{{4}}-"):
        open_writer(tmp_path).__enter__()
    process.kill()
    process.join()
    with open_writer(tmp_path):  # the lock of a killed process is free
        pass


def test_files_of_a_killed_writer_are_removed_and_others_kept(tmp_path: Path) -> None:
    with open_writer(tmp_path) as writer:
        writer.commit(watch_events(1), NO_RATINGS)
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


def test_a_missing_or_damaged_store_is_an_error(tmp_path: Path) -> None:
    with pytest.raises(IngestError, match="no store at"), open_store(tmp_path):
        pass
    (tmp_path / "manifest.json").write_text('{"format"')
    with pytest.raises(IngestError, match="is not the manifest of a store"), open_store(tmp_path):
        pass


def test_a_missing_or_damaged_segment_is_an_error(tmp_path: Path) -> None:
    with open_writer(tmp_path) as writer:
        writer.commit(watch_events(1), NO_RATINGS)
    file = tmp_path / "watches-00000001.parquet"
    file.write_bytes(file.read_bytes()[:-9])
    with pytest.raises(IngestError, match=r"watches-00000001\.parquet is damaged"):
        open_store(tmp_path).__enter__()
    file.unlink()
    with pytest.raises(IngestError, match="lacks a file"):
        open_store(tmp_path).__enter__()
