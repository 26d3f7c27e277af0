"""The data window: which rows are within it, and files that are not valid."""

from datetime import datetime
from pathlib import Path

import polars as pl
import pytest

from app.ingest.data_window import DataWindow, ExcludedSpan, read_window
from app.ingest.errors import IngestError
from tests.conftest import ROOT


def test_rows_of_excluded_spans_and_of_the_future_are_outside() -> None:
    times = [datetime(2026, 1, day) for day in range(1, 8)]
    window = DataWindow(max_time=times[5], excluded=(ExcludedSpan(after=times[1], until=times[3]),))
    rows = pl.DataFrame({"time": [None, *times]})
    within = rows.filter(window.row_filter("time"))["time"].to_list()
    assert within == [None, times[0], times[1], times[4], times[5]]


def test_a_window_is_read_as_it_was_written(tmp_path: Path) -> None:
    window = DataWindow(test_start=datetime(2026, 1, 1, 0, 0, 0, 1), skip_checks=True)
    (tmp_path / "window.json").write_text(window.model_dump_json())
    assert read_window(tmp_path / "window.json") == window
    assert read_window(ROOT / "data" / "window.json") == DataWindow()


@pytest.mark.parametrize(
    ("content", "message"),
    [("{}x", "JSON"), ('{"until": null}', "until"), ('{"test_share": 1}', "test_share")],
)
def test_an_invalid_window_is_an_error(tmp_path: Path, content: str, message: str) -> None:
    (tmp_path / "window.json").write_text(content)
    with pytest.raises(IngestError, match=message):
        read_window(tmp_path / "window.json")


def test_a_missing_window_is_an_error(tmp_path: Path) -> None:
    with pytest.raises(IngestError, match="cannot be read"):
        read_window(tmp_path / "window.json")
