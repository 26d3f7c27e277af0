"""The sample as a log, which fills the demo's store before the simulation starts."""

import runpy
from pathlib import Path

import polars as pl
import pytest

from tests.conftest import ROOT
from tests.support.commands import invoke, summary_of

#: Every tenth user is enough.
CHOSEN = pl.col("user_id") % 10 == 0


def test_collecting_the_sample_log_gives_the_tables_of_the_sample(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(ROOT)
    lines = runpy.run_path("scripts/demo/sample_log.py")["create_sample_log"]().to_series()
    user = lines.str.split(",").list.get(1).cast(pl.Int64)
    lines.filter(user % 10 == 0).to_frame().write_csv(
        tmp_path / "sample.log", include_header=False, quote_style="never"
    )
    store = tmp_path / "store"
    counts = summary_of("collect", "--file", tmp_path / "sample.log", "--store", store)
    assert counts["rejected"] == 0
    assert counts["lines"] > 1000
    assert invoke("prepare", "--store", store, "--out", tmp_path / "tables").returncode == 0
    for name in ("ratings", "watches"):
        key = ["user_id", "movie_id"]
        expected = pl.read_parquet(f"data/sample/{name}.parquet").filter(CHOSEN).sort(key)
        collected = pl.read_parquet(tmp_path / f"tables/{name}.parquet").sort(key)
        value = "rating" if name == "ratings" else "minutes"
        assert collected.select(*key, value).equals(expected.select(*key, value)), name
