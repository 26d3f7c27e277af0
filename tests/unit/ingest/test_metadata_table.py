from pathlib import Path

import polars as pl

from app.ingest.metadata.parse import FAILED, USERS
from app.ingest.metadata.table import MetadataTable


def test_a_file_without_the_column_of_failures_is_read(tmp_path: Path) -> None:
    path = tmp_path / "users.parquet"
    table = MetadataTable(path, USERS)
    table.add([1, 2, 3], {"1": {"age": 30}, "2": None})
    table.save()
    pl.read_parquet(path).drop(FAILED).write_parquet(path)
    older = MetadataTable(path, USERS)
    assert (older.rows, older.known_rows, older.failed_rows) == (3, 1, 0)


def test_failed_ids_are_requested_after_new_ones(tmp_path: Path) -> None:
    table = MetadataTable(tmp_path / "users.parquet", USERS)
    table.add([1, 2, 3], {"1": {"age": 30}, "2": None})
    table.save()
    missing = table.select_missing(pl.Series("user_id", [1, 2, 3, 4, 5], pl.Int64))
    assert missing.new.to_list() == [4, 5]
    assert missing.failed.to_list() == [2]
