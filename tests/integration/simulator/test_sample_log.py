"""The sample as lines of the stream, with which the demo's store begins."""

import json
import subprocess
import sys
from pathlib import Path

import polars as pl
import pytest

from tests.conftest import ROOT


@pytest.mark.slow
def test_its_lines_are_collected_as_the_sample_is(tmp_path: Path) -> None:
    log, store = tmp_path / "sample.log", tmp_path / "store"
    with log.open("wb") as out:
        script = [sys.executable, "scripts/demo/sample_log.py"]
        subprocess.run(script, cwd=ROOT, stdout=out, check=True)
    marquee = [sys.executable, "-m", "app"]
    collect = [*marquee, "collect", "--file", str(log), "--store", str(store), "--json"]
    told = json.loads(subprocess.run(collect, cwd=ROOT, capture_output=True, check=True).stdout)
    log.unlink()
    assert told["rejected"] == 0
    prepare = [*marquee, "prepare", "--store", str(store), "--out", str(tmp_path / "tables")]
    subprocess.run(prepare, cwd=ROOT, capture_output=True, check=True)
    for name in ("ratings", "watches"):
        key = ["user_id", "movie_id"]
        ours = pl.read_parquet(ROOT / f"data/sample/{name}.parquet").sort(key)
        theirs = pl.read_parquet(tmp_path / f"tables/{name}.parquet").sort(key)
        value = "rating" if name == "ratings" else "minutes"
        assert theirs.select(*key, value).equals(ours.select(*key, value)), name
