"""The bench of training at many sizes: its generator, its resumption, and the fit of exponents."""

import json
from pathlib import Path

import numpy as np
import polars as pl
import pytest

from app.ingest.training_tables import EventTables
from bench.training import events
from bench.training.growth import fit_exponents, growth_page
from bench.training.processes import run_python
from bench.training.scale import Size, measure


def test_generated_tables_do_not_depend_on_the_size_of_blocks(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    whole, blocks = tmp_path / "whole", tmp_path / "blocks"
    for directory in (whole, blocks):
        directory.mkdir()
        events.write(directory, 3000, 300, 100)
        monkeypatch.setattr(events, "_BLOCK", 700)
    tables = {}
    for name in ("ratings", "watches", "movies"):
        tables[name] = pl.read_parquet(blocks / f"{name}.parquet")
        assert tables[name].equals(pl.read_parquet(whole / f"{name}.parquet"))
    assert tables["ratings"].height == tables["watches"].height == 1500
    pairs = pl.concat([tables[name]["user_id", "movie_id"] for name in ("ratings", "watches")])
    assert pairs.n_unique() == 3000
    assert pairs["user_id"].n_unique() == 300
    assert EventTables(blocks / "ratings.parquet", blocks / "watches.parquet").can_be_split()


def test_a_size_that_was_measured_is_not_measured_again(tmp_path: Path) -> None:
    (tmp_path / "10-5-3.json").write_text(json.dumps({"seconds": {"read": 1}}))
    assert measure(Size(10, 5, 3), tmp_path) == {"seconds": {"read": 1}}
    assert [path.name for path in tmp_path.iterdir()] == ["10-5-3.json"]


def test_exponents_are_those_of_the_law_that_made_the_values() -> None:
    sizes = 1e3 * np.array([[100, 10, 1], [200, 10, 1], [100, 20, 1], [100, 10, 3], [400, 30, 2]])
    runs = [dict(zip(("events", "users", "movies"), row, strict=True)) for row in sizes.tolist()]
    values = 3 * sizes[:, 0] ** 1.1 * sizes[:, 1] ** 0.4 * sizes[:, 2] ** -0.2
    *exponents, residual = fit_exponents(runs, values.tolist())
    assert exponents == pytest.approx([1.1, 0.4, -0.2])
    assert residual == pytest.approx(0, abs=1e-9)
    cost = [{"cpu_seconds": {"als": value, "svd": 0.01}, "all_mb": 9} for value in values]
    page = growth_page([{**run, **c} for run, c in zip(runs, cost, strict=True)])
    assert "| processor time, als | 1.10 | 0.40 | -0.20 |" in page
    assert "processor time, svd" not in page


def test_the_memory_of_all_processes_of_a_command_is_measured(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "parent.py").write_text(
        "import subprocess, sys\n"
        "own = bytearray(100_000_000)\n"
        "child = 'import time; other = bytearray(200_000_000); time.sleep(2)'\n"
        "subprocess.run([sys.executable, '-c', child], check=True)\n"
        "print('done')\n"
    )
    monkeypatch.setenv("PYTHONPATH", str(tmp_path))
    finished = run_python("parent")
    assert finished.output == "done\n"
    assert 280 < finished.peak_anonymous_mb <= finished.peak_mb < 500
