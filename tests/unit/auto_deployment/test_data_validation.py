"""Data that passes the checks, and data with one fault each."""

import json
from collections.abc import Callable
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl
import pytest
from click.testing import CliRunner

from app.auto_deployment.data_validation import psi
from app.auto_deployment.retraining_policy import read_limits, validate_data
from app.cli import marquee
from app.ingest.data_window import DataWindow
from app.ingest.schemas import RATINGS, WATCHES, conform
from tests.conftest import ROOT

START = datetime(2022, 11, 1)
#: A batch of ten days follows thirty days.
BATCH_START = START + timedelta(days=30)
WITH_BATCH = DataWindow(previous_newest=BATCH_START)


@pytest.fixture
def tables(tmp_path: Path) -> Path:
    """4,000 ratings and 4,000 watches over forty days."""
    rng = np.random.default_rng(3)
    number = np.arange(4000)
    table = pl.DataFrame(
        {
            "user_id": number // 8,
            "movie_id": [f"movie+{(n * 7 + n // 8) % 90}+1999" for n in number],
            "rating": rng.choice([1, 2, 3, 4, 5], 4000, p=[0.1, 0.1, 0.2, 0.3, 0.3]),
            "minutes": rng.integers(1, 90, 4000),
            "time": pl.Series([START] * 4000)
            + pl.Series(rng.integers(40 * 86_400, size=4000) * 1_000_000).cast(pl.Duration("us")),
        }
    )
    conform(table, RATINGS).write_parquet(tmp_path / "ratings.parquet")
    watches = table.with_columns(first_time="time", last_time="time")
    conform(watches, WATCHES).write_parquet(tmp_path / "watches.parquet")
    return tmp_path


def check(tables: Path, window: DataWindow = WITH_BATCH, **prepare_summary: int) -> dict[str, Any]:
    checks = read_limits(ROOT / "params.yaml").checks
    return validate_data(tables, prepare_summary, window, checks, (1, 5)).to_dict()


def change(tables: Path, name: str, function: Callable[[pl.DataFrame], pl.DataFrame]) -> None:
    path = tables / f"{name}.parquet"
    function(pl.read_parquet(path)).write_parquet(path)


def in_batch() -> pl.Expr:
    return pl.col("time") > BATCH_START


def test_sound_data_passes(tables: Path) -> None:
    report = check(tables)
    assert report["passed"], report
    assert report["ratings"] == report["watches"] == 4000
    assert 900 < report["batch"]["ratings"] < 1100
    assert 0.8 < report["batch"]["volume_ratio"] < 1.2
    assert report["batch"]["ratings_psi"] < 0.05


@pytest.mark.parametrize(
    ("name", "function", "reason"),
    [
        ("ratings", lambda t: t.with_columns(rating=pl.lit(6.0, pl.Float32)), "in_range"),
        ("ratings", lambda t: pl.concat([t, t.head(1)]), "multiple_fields_uniqueness"),
        ("ratings", lambda t: t.with_columns(user_id=-pl.col("user_id") - 1), "user_id"),
        ("ratings", lambda t: t.with_columns(movie_id=pl.lit("a movie")), "str_matches"),
        ("watches", lambda t: t.with_columns(minutes=pl.lit(0, pl.UInt16)), "minutes"),
        ("ratings", lambda t: t.with_columns(rating=pl.lit(None, pl.Float32)), "nullable"),
    ],
)
def test_a_schema_error_blocks_a_version(
    tables: Path, name: str, function: Callable[[pl.DataFrame], pl.DataFrame], reason: str
) -> None:
    change(tables, name, function)
    report = check(tables, DataWindow())
    assert not report["passed"]
    assert not report["rejected"], "no batch is at fault"
    assert any(reason in blocking for blocking in report["blocking"]), report["blocking"]


def test_too_many_events_without_a_time_block_a_version(tables: Path) -> None:
    change(tables, "ratings", lambda t: t.with_columns(time=pl.lit(None, pl.Datetime("us"))))
    change(tables, "watches", lambda t: t.head(100))
    assert any("have no time" in reason for reason in check(tables, DataWindow())["blocking"])


def test_a_drift_of_ratings_rejects_the_batch_unless_checks_are_skipped(tables: Path) -> None:
    high = pl.when(in_batch()).then(5).otherwise("rating").cast(pl.Float32)
    change(tables, "ratings", lambda t: t.with_columns(rating=high))
    assert ["ratings has drifted" in reason for reason in check(tables)["rejected"]] == [True]
    assert check(tables, WITH_BATCH.model_copy(update={"skip_checks": True}))["passed"]


def test_a_drift_of_popularity_rejects_the_batch(tables: Path) -> None:
    same = pl.when(in_batch()).then(pl.lit("movie+new+2022")).otherwise("movie_id")
    change(
        tables, "ratings", lambda t: t.with_columns(movie_id=same).unique(["user_id", "movie_id"])
    )
    assert any("popularity has drifted" in reason for reason in check(tables)["rejected"])


@pytest.mark.parametrize(
    ("thinned", "verdict", "reason"),
    [("before", "rejected", "too many events"), ("batch", "blocking", "too few events")],
)
def test_too_large_a_batch_is_rejected_and_too_small_a_batch_blocks(
    tables: Path, thinned: str, verdict: str, reason: str
) -> None:
    kept = pl.col("user_id") % 50 == 0
    for name, time in (("ratings", "time"), ("watches", "last_time")):
        old = pl.col(time) <= BATCH_START
        rows = kept | (~old if thinned == "before" else old)
        path = tables / f"{name}.parquet"
        pl.read_parquet(path).filter(rows).write_parquet(path)
    report = check(tables)
    assert not report["passed"]
    assert reason in report[verdict][0]


def test_damaged_movie_ids_are_counted_by_line(tables: Path) -> None:
    lines = int(pl.read_parquet(tables / "watches.parquet")["minutes"].sum()) + 4000
    assert check(tables, repaired=lines // 100, dropped=lines // 200)["passed"]
    report = check(tables, repaired=lines // 100, dropped=lines // 80)
    assert "2.2% of lines have a damaged movie id" in report["blocking"][0]


def test_psi_of_known_distributions() -> None:
    same = psi(np.array([100, 200, 300]), np.array([10, 20, 30]))
    other = psi(np.array([5000, 3000, 2000]), np.array([3000, 3000, 4000]))
    assert same < 0.01
    assert other == pytest.approx(0.2 * np.log(5 / 3) + 0.2 * np.log(2), rel=1e-3)


def test_the_command_prints_the_reasons_and_writes_the_report(tables: Path, tmp_path: Path) -> None:
    out = tmp_path / "reports" / "data.json"
    arguments = ["test-data", "--tables", str(tables), "--out", str(out)]
    arguments += ["--params", str(ROOT / "params.yaml")]
    done = CliRunner().invoke(marquee, arguments)
    assert done.exit_code == 0, done.output
    change(tables, "ratings", lambda t: t.with_columns(rating=pl.lit(9, pl.Float32)))
    done = CliRunner().invoke(marquee, arguments)
    assert done.exit_code == 1
    assert "rejected: ratings: rating: in_range" in done.stderr
    assert not json.loads(out.read_bytes())["passed"]


def test_the_command_explains_a_summary_that_is_not_json(tables: Path, tmp_path: Path) -> None:
    (tmp_path / "prepare.json").write_text("{")
    arguments = ["test-data", "--tables", str(tables), "--prepare-summary"]
    done = CliRunner().invoke(marquee, [*arguments, str(tmp_path / "prepare.json")])
    assert done.exit_code == 1
    assert "prepare.json: line 1: not JSON" in done.stderr
