from pathlib import Path
from typing import IO

import pytest

from app.ingest.errors import IngestError
from app.ingest.store_files import Manifest, Segment, open_segments, write_manifest


def write_store(store: Path, *names: str) -> None:
    for name in names:
        (store / name).write_text(name)
    segments = tuple(Segment(name=name, rows=1) for name in names)
    write_manifest(store, Manifest(watches=segments))


def test_segments_are_opened_by_name(tmp_path: Path) -> None:
    write_store(tmp_path, "watches-1.parquet", "watches-2.parquet")
    with open_segments(tmp_path, lambda path: path.open()) as (manifest, files):
        assert manifest is not None
        assert {name: file.read() for name, file in files.items()} == {
            "watches-1.parquet": "watches-1.parquet",
            "watches-2.parquet": "watches-2.parquet",
        }


def test_without_a_store_there_are_no_segments(tmp_path: Path) -> None:
    with open_segments(tmp_path, lambda path: path.open()) as (manifest, files):
        assert manifest is None
        assert files == {}


def test_segments_replaced_meanwhile_are_opened_from_the_newer_manifest(tmp_path: Path) -> None:
    write_store(tmp_path, "watches-1.parquet", "watches-2.parquet")
    opened: list[IO[str]] = []

    def open_after_compaction(path: Path) -> IO[str]:
        if path.name == "watches-2.parquet":
            write_store(tmp_path, "watches-3.parquet")
            path.unlink()
        opened.append(path.open())
        return opened[-1]

    with open_segments(tmp_path, open_after_compaction) as (_, files):
        assert list(files) == ["watches-3.parquet"]
        assert [file.closed for file in opened] == [True, False]
    assert all(file.closed for file in opened)


def test_a_missing_segment_is_an_error(tmp_path: Path) -> None:
    write_store(tmp_path, "watches-1.parquet")
    (tmp_path / "watches-1.parquet").unlink()
    opening = open_segments(tmp_path, lambda path: path.open())
    with pytest.raises(IngestError, match=r"lacks a file: .*watches-1\.parquet"), opening:
        pass
