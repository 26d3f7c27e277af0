"""Reports of whole models, the comparison of two of them, and their pages."""

import json
from datetime import datetime
from pathlib import Path

import polars as pl
import pytest
from click.testing import CliRunner

from app.cli import marquee
from app.fairness.page import format_difference, write_page
from app.fairness.ranking_page import compute_shares
from app.ingest.schemas import RATINGS, conform
from app.training.params import read_params, replace_params
from tests.conftest import ROOT
from tests.support.whole_models import DEPTH, write_whole_model

MOVIES = [f"the+movie+{number}+{1950 + number}" for number in range(60)]
WOMEN, MEN = range(1, 41), range(41, 241)
GOOD, BAD = list(range(DEPTH)), list(range(DEPTH, 2 * DEPTH))


def run(*arguments: object) -> str:
    done = CliRunner().invoke(marquee, [str(argument) for argument in arguments])
    assert done.exit_code == 0, done.output
    return done.stdout


@pytest.fixture
def directory(tmp_path: Path) -> Path:
    """Ratings of the first movies by every user, and the users' metadata."""
    users = [user for user in (*WOMEN, *MEN) for _ in range(3)]
    movies = [MOVIES[(user + 3 * n) % 8] for n, user in enumerate(users)]
    ratings = pl.DataFrame({"user_id": users, "movie_id": movies, "rating": 4})
    ratings = ratings.with_columns(time=pl.lit(datetime(2026, 5, 2)))
    conform(
        ratings.unique(["user_id", "movie_id"]).sort("user_id", "movie_id"), RATINGS
    ).write_parquet(tmp_path / "ratings.parquet")
    gender = ["F"] * len(WOMEN) + ["M"] * len(MEN)
    metadata = {"user_id": [*WOMEN, *MEN], "gender": gender, "age": [30] * len(gender)}
    pl.DataFrame(metadata).with_columns(occupation=pl.lit("a|b*c")).write_parquet(
        tmp_path / "users.parquet"
    )
    write_whole_model(tmp_path / "fair", MOVIES, dict.fromkeys((*WOMEN, *MEN), GOOD))
    unfair = dict.fromkeys(WOMEN, BAD) | dict.fromkeys(MEN, GOOD)
    write_whole_model(tmp_path / "unfair", MOVIES, unfair)
    return tmp_path


def report(directory: Path, model: str, *more: object) -> str:
    return run(
        "fairness", "--model", directory / model, "--ratings", directory / "ratings.parquet",
        "--metadata", directory, "--params", ROOT / "params.yaml", *more,
    )  # fmt: skip


def test_a_report_is_written_for_people_and_machines(directory: Path) -> None:
    files = ("--out", directory / "r/fairness.json", "--page", directory / "r/fairness.md")
    printed = report(directory, "unfair", *files)
    page = (directory / "r" / "fairness.md").read_text()
    content = json.loads((directory / "r" / "fairness.json").read_text())
    assert page == printed == write_page(content)
    assert content["attributes"][:3] == ["gender", "age", "occupation"]
    assert "- Beside all other users, as they are: gender F: ndcg -" in page
    assert "a\\|b\\*c" in page, "names of the API do not change the table"
    women = content["users_side"][0]["groups"][0]
    assert (women["group"], women["users"], women["ndcg"]["value"]) == ("F", 40, 0)
    assert content["movies_side"]["never_shown"] == pytest.approx(1 - 20 / 60)
    assert json.loads(report(directory, "unfair", "--json")) == content, "the same each time"


def test_a_small_difference_does_not_read_as_none() -> None:
    numbers = {0.01234: "+0.0123", -0.00004: "-4e-05", 0.0: "+0.0000", -0.00006: "-0.0001"}
    test = {"corrected_p_value": 0.5, "differs": False}
    for value, text in numbers.items():
        assert format_difference({"value": value, **test}) == f"{text} (p 0.500)"


def test_a_report_without_metadata_names_what_is_not_known(directory: Path) -> None:
    (directory / "users.parquet").unlink()
    page = report(directory, "fair")
    assert "Not known of the users: age, gender, occupation" in page
    assert "## Users by activity" in page


def test_a_group_that_a_candidate_serves_worse_is_named(directory: Path) -> None:
    before = ("--before", directory / "fair")
    content = json.loads(report(directory, "unfair", *before, "--json"))
    worse = {row["group"] for row in content["groups"] if row["worse"]}
    assert "F" in worse
    assert "M" not in worse
    assert content["max_regression"] == 0.1
    page = report(directory, "unfair", *before)
    assert any(line.startswith("| gender | F | 40 |") and "**yes**" in line
               for line in page.splitlines())  # fmt: skip
    # The candidate shows ten other movies to the women.
    assert f"| shown to none of these users | {50 / 60:.4f} | {40 / 60:.4f} |" in page
    shown = {side: row["by_class"]["popularity"] for side, row in content["movies_side"].items()}
    assert all(sum(row["shown"]["value"] for row in rows) == pytest.approx(1)
               for rows in shown.values())  # fmt: skip


def test_no_group_is_worse_by_an_equal_or_better_candidate(directory: Path) -> None:
    for candidate, production in (("fair", "fair"), ("fair", "unfair")):
        content = json.loads(
            report(directory, candidate, "--before", directory / production, "--json")
        )
        assert not any(row["worse"] for row in content["groups"])


def test_the_ranking_page_explains_parts_and_weights(trained_manifest: Path) -> None:
    page = run("explain-ranking", "--model", trained_manifest)
    assert page.startswith("# How version 0 ranks movies")
    assert "| what many users watch at present | 84% | 52% | 22% | 7% |" in page
    assert "half as much for each 60 days" in page
    assert "profiling=false" in page


def test_the_shares_of_a_user_without_movies_are_popularity_alone() -> None:
    blend = {"als": 1, "ease": 0.6, "transitions": 0.3, "popularity": 0.05, "cold_start": 10,
             "svd": 0}  # fmt: skip
    assert compute_shares(blend, 0) == {"popularity": 1}
    shares = compute_shares(blend, 10)
    assert sum(shares.values()) == pytest.approx(1)
    assert shares["popularity"] == pytest.approx(1.05 / 2.95)
    assert "svd" not in shares


@pytest.fixture
def trained_manifest(tmp_path: Path) -> Path:
    params = replace_params(read_params(ROOT / "params.yaml"), {"popularity.half_life_days": 60})
    parameters = params.model_dump(mode="json")
    return write_whole_model(tmp_path / "model", MOVIES, {1: GOOD}, parameters=parameters)
