"""The sample as a log, which fills the demo's store before the simulation starts."""

import json
import subprocess
import sys
from pathlib import Path

import polars as pl
import pytest

from tests.conftest import ROOT


@pytest.mark.slow
def test_collecting_the_sample_log_gives_the_tables_of_the_sample(tmp_path: Path) -> None:
    log, store = tmp_path / "sample.log", tmp_path / "store"
    with log.open("wb") as out:
        script = [sys.executable, "scripts/demo/sample_log.py"]
        subprocess.run(script, cwd=ROOT, stdout=out, check=True)
    marquee = [sys.executable, "-m", "app"]
    collect = [*marquee, "collect", "--file", str(log), "--store", str(store), "--json"]
    counts = json.loads(subprocess.run(collect, cwd=ROOT, capture_output=True, check=True).stdout)
    log.unlink()
    assert counts["rejected"] == 0
    prepare = [*marquee, "prepare", "--store", str(store), "--out", str(tmp_path / "tables")]
    subprocess.run(prepare, cwd=ROOT, capture_output=True, check=True)
    for name in ("ratings", "watches"):
        key = ["user_id", "movie_id"]
        expected = pl.read_parquet(ROOT / f"data/sample/{name}.parquet").sort(key)
        collected = pl.read_parquet(tmp_path / f"tables/{name}.parquet").sort(key)
        value = "rating" if name == "ratings" else "minutes"
        assert collected.select(*key, value).equals(expected.select(*key, value)), name
