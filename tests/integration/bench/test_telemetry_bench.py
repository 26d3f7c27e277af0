"""The generated answers have the format of the exports, and a finished day is kept."""

from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq

from app.telemetry.exports import ANSWERS, ExportDirectory
from bench.telemetry import DAYS, LENGTH, format_table, read_titles, write_exports


def test_generated_answers_are_like_exported_ones(tmp_path: Path) -> None:
    assert write_exports(tmp_path, DAYS * 200, users=100) > 0
    files = ExportDirectory(tmp_path).list_days()
    assert len(files) == DAYS
    table = pq.read_table(files[1], partitioning=None)
    plain = {
        field.name: field.type.value_type if pa.types.is_dictionary(field.type) else field.type
        for field in ANSWERS
    }
    assert dict(zip(table.schema.names, table.schema.types, strict=True)) == plain
    assert table.num_rows == 200
    times = table["answered_at"].to_pylist()
    assert times == sorted(times)
    assert {f"{time:%Y-%m-%d}" for time in times} == {str(table["day"][0])}
    assert {len(movies) for movies in table["movies"].to_pylist()} == {LENGTH}
    request_ids = table["request_id"].to_pylist()
    assert len(set(request_ids)) == 200
    assert len({len(request_id) for request_id in request_ids}) == 1
    written = [file.stat().st_mtime_ns for file in files[1:]]
    files[0].unlink()
    write_exports(tmp_path, DAYS * 200, users=100)
    assert [file.stat().st_mtime_ns for file in files[1:]] == written
    assert files[0].exists()


def test_each_question_has_a_row() -> None:
    titles = read_titles()
    assert len(titles) == 10
    assert titles[7] == "What did a user get, and from which version?"
    asked = {"seconds": 1.0, "cpu_seconds": 0.5, "memory_mb": 200, "error": ""}
    table = format_table({"rows": 1000, "bytes": 71_000, "questions": [asked] * 10})
    assert table.startswith("1,000 answers")
    assert table.count(" 0.5 | 200 |") == 10
