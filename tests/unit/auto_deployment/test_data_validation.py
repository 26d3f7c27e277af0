"""Data that is fit, and data with one fault each."""

import json
from collections.abc import Callable
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl
import pytest
from click.testing import CliRunner

from app.auto_deployment.data_validation import check_data
from app.auto_deployment.drift import psi
from app.auto_deployment.thresholds import Checks, read_checks
from app.cli import marquee
from app.ingest.data_window import Cycle
from app.ingest.schemas import RATINGS, WATCHES, conform

START = datetime(2022, 11, 1)
BEFORE = START + timedelta(days=30)
#: Ten days' batch after thirty days.
NEW = Cycle(before=BEFORE)


@pytest.fixture
def tables(tmp_path: Path) -> Path:
    """4,000 ratings and watches over forty days."""
    random = np.random.default_rng(3)
    number = np.arange(4000)
    table = pl.DataFrame(
        {
            "user_id": number // 8,
            "movie_id": [f"movie+{(n * 7 + n // 8) % 90}+1999" for n in number],
            "rating": random.choice([1, 2, 3, 4, 5], 4000, p=[0.1, 0.1, 0.2, 0.3, 0.3]),
            "minutes": random.integers(1, 90, 4000),
            "time": pl.Series([START] * 4000)
            + pl.Series(random.integers(40 * 86_400, size=4000) * 1_000_000).cast(
                pl.Duration("us")
            ),
        }
    )
    conform(table, RATINGS).write_parquet(tmp_path / "ratings.parquet")
    watches = table.with_columns(first_time="time", last_time="time")
    conform(watches, WATCHES).write_parquet(tmp_path / "watches.parquet")
    return tmp_path


def check(tables: Path, cycle: Cycle = NEW, **prepared: int) -> dict[str, Any]:
    return check_data(tables, prepared, cycle, Checks(), (1, 5))


def change(tables: Path, name: str, of: Callable[[pl.DataFrame], pl.DataFrame]) -> None:
    path = tables / f"{name}.parquet"
    of(pl.read_parquet(path)).write_parquet(path)


def newer() -> pl.Expr:
    return pl.col("time") > BEFORE


def test_sound_data_is_fit(tables: Path) -> None:
    found = check(tables)
    assert found["passed"], found
    assert found["ratings"] == found["watches"] == 4000
    assert 900 < found["batch"]["ratings"] < 1100
    assert 0.8 < found["batch"]["volume"] < 1.2
    assert found["batch"]["ratings_psi"] < 0.05


@pytest.mark.parametrize(
    ("name", "of", "reason"),
    [
        ("ratings", lambda t: t.with_columns(rating=pl.lit(6.0, pl.Float32)), "in_range"),
        ("ratings", lambda t: pl.concat([t, t.head(1)]), "multiple_fields_uniqueness"),
        ("ratings", lambda t: t.with_columns(user_id=-pl.col("user_id") - 1), "user_id"),
        ("ratings", lambda t: t.with_columns(movie_id=pl.lit("a movie")), "str_matches"),
        ("watches", lambda t: t.with_columns(minutes=pl.lit(0, pl.UInt16)), "minutes"),
        ("ratings", lambda t: t.with_columns(rating=pl.lit(None, pl.Float32)), "nullable"),
        ("ratings", lambda t: t.with_columns(time=pl.lit(None, pl.Datetime("us"))), None),
    ],
)
def test_a_fault_of_the_whole_table_is_named(
    tables: Path, name: str, of: Callable[[pl.DataFrame], pl.DataFrame], reason: str | None
) -> None:
    change(tables, name, of)
    if reason is None:
        change(tables, "watches", lambda t: t.head(100))
        reason = "have no time"
    found = check(tables, Cycle())
    assert not found["passed"]
    assert not found["refused"], "no batch of its own is at fault"
    assert any(reason in held for held in found["held"]), found["held"]


def test_a_drift_of_ratings_is_the_batchs_fault(tables: Path) -> None:
    high = pl.when(newer()).then(5).otherwise("rating").cast(pl.Float32)
    change(tables, "ratings", lambda t: t.with_columns(rating=high))
    assert ["ratings has drifted" in reason for reason in check(tables)["refused"]] == [True]
    assert check(tables, NEW.model_copy(update={"accepted": True}))["passed"]


def test_a_drift_of_popularity_is_the_batchs_fault(tables: Path) -> None:
    same = pl.when(newer()).then(pl.lit("movie+new+2022")).otherwise("movie_id")
    change(
        tables, "ratings", lambda t: t.with_columns(movie_id=same).unique(["user_id", "movie_id"])
    )
    assert any("popularity has drifted" in reason for reason in check(tables)["refused"])


@pytest.mark.parametrize(("thinned", "kind"), [("before", "refused"), ("batch", "held")])
def test_too_much_is_refused_and_too_little_waits(tables: Path, thinned: str, kind: str) -> None:
    kept = pl.col("user_id") % 50 == 0
    for name, time in (("ratings", "time"), ("watches", "last_time")):
        old = pl.col(time) <= BEFORE
        rows = kept | (~old if thinned == "before" else old)
        path = tables / f"{name}.parquet"
        pl.read_parquet(path).filter(rows).write_parquet(path)
    found = check(tables)
    assert not found["passed"]
    assert "times as many events as before" in found[kind][0]


def test_damaged_movie_ids_are_counted(tables: Path) -> None:
    lines = int(pl.read_parquet(tables / "watches.parquet")["minutes"].sum()) + 4000
    assert check(tables, repaired=lines // 100, dropped=lines // 200)["passed"]
    found = check(tables, repaired=lines // 100, dropped=lines // 80)
    assert "2.2% of lines have a damaged movie id" in found["held"][0]


def test_psi_is_what_the_books_say() -> None:
    same = psi(np.array([100, 200, 300]), np.array([10, 20, 30]))
    other = psi(np.array([5000, 3000, 2000]), np.array([3000, 3000, 4000]))
    assert same < 0.01
    assert other == pytest.approx(0.2 * np.log(5 / 3) + 0.2 * np.log(2), rel=1e-3)


def test_the_command_says_why_and_writes_its_report(tables: Path, tmp_path: Path) -> None:
    (tables / "params.yaml").write_text("checks: {damaged: 0.5}\nseed: 1\n")
    arguments = ["test-data", "--tables", tables, "--params", tables / "params.yaml"]
    arguments += ["--out", tmp_path / "reports" / "data.json"]
    done = CliRunner().invoke(marquee, [str(a) for a in arguments])
    assert done.exit_code == 0, done.output
    change(tables, "ratings", lambda t: t.with_columns(rating=pl.lit(9, pl.Float32)))
    done = CliRunner().invoke(marquee, [str(a) for a in arguments])
    assert done.exit_code == 1
    assert "refused: ratings: rating: in_range" in done.stderr
    assert not json.loads((tmp_path / "reports" / "data.json").read_bytes())["passed"]


def test_a_threshold_that_makes_no_sense_is_named(tmp_path: Path) -> None:
    (tmp_path / "params.yaml").write_text("checks: {damage: 0.5}\n")
    with pytest.raises(Exception, match=r"checks\.damage"):
        read_checks(tmp_path / "params.yaml")
