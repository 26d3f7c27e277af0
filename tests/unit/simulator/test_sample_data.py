import json
from pathlib import Path

import polars as pl
from click.testing import CliRunner

from app.cli import marquee
from app.ingest import log_parser
from tests.conftest import ROOT

COMMITTED = ROOT / "data" / "sample"


def test_the_committed_sample_is_what_the_command_makes(tmp_path: Path) -> None:
    done = CliRunner().invoke(marquee, ["make-sample", "--out", str(tmp_path), "--json"])
    assert done.exit_code == 0
    assert set(json.loads(done.stdout)) == {"ratings", "watches"}
    for name in ("ratings", "watches"):
        made = pl.read_parquet(tmp_path / f"{name}.parquet")
        assert made.equals(pl.read_parquet(COMMITTED / f"{name}.parquet"))


def test_another_seed_makes_another_sample(tmp_path: Path) -> None:
    done = CliRunner().invoke(marquee, ["make-sample", "--out", str(tmp_path), "--seed", "1"])
    assert done.exit_code == 0
    made = pl.read_parquet(tmp_path / "ratings.parquet")
    assert not made.equals(pl.read_parquet(COMMITTED / "ratings.parquet"))


def test_its_movies_and_ratings_look_like_the_streams() -> None:
    ratings = pl.read_parquet(COMMITTED / "ratings.parquet")
    assert set(ratings["rating"].unique()) == {1.0, 2.0, 3.0, 4.0, 5.0}
    assert all(log_parser.is_movie_id(movie) for movie in ratings["movie_id"].unique())
    assert ratings.select("user_id", "movie_id").is_unique().all()


def test_popularity_has_a_long_tail() -> None:
    counts = pl.read_parquet(COMMITTED / "watches.parquet")["movie_id"].value_counts(sort=True)
    top_tenth = counts["count"].head(counts.height // 10).sum()
    assert top_tenth > 0.4 * int(counts["count"].sum())
