import json
from pathlib import Path

import polars as pl
from click.testing import CliRunner

from app.cli import marquee
from app.ingest import log_parser
from tests.conftest import ROOT

COMMITTED = ROOT / "data" / "sample"


def test_the_command_reproduces_the_committed_sample(tmp_path: Path) -> None:
    result = CliRunner().invoke(marquee, ["make-sample", "--out", str(tmp_path), "--json"])
    assert result.exit_code == 0
    assert set(json.loads(result.stdout)) == {"ratings", "watches"}
    for name in ("ratings", "watches"):
        generated = pl.read_parquet(tmp_path / f"{name}.parquet")
        assert generated.equals(pl.read_parquet(COMMITTED / f"{name}.parquet"))


def test_another_seed_gives_another_sample(tmp_path: Path) -> None:
    result = CliRunner().invoke(marquee, ["make-sample", "--out", str(tmp_path), "--seed", "1"])
    assert result.exit_code == 0
    generated = pl.read_parquet(tmp_path / "ratings.parquet")
    assert not generated.equals(pl.read_parquet(COMMITTED / "ratings.parquet"))


def test_movie_ids_and_ratings_have_the_form_of_the_log() -> None:
    ratings = pl.read_parquet(COMMITTED / "ratings.parquet")
    assert set(ratings["rating"].unique()) == {1.0, 2.0, 3.0, 4.0, 5.0}
    assert all(log_parser.is_movie_id(movie) for movie in ratings["movie_id"].unique())
    assert ratings.select("user_id", "movie_id").is_unique().all()


def test_popularity_has_a_long_tail() -> None:
    counts = pl.read_parquet(COMMITTED / "watches.parquet")["movie_id"].value_counts(sort=True)
    top_tenth = counts["count"].head(counts.height // 10).sum()
    assert top_tenth > 0.4 * int(counts["count"].sum())
