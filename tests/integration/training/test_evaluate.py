import json
from math import log2, sqrt
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl
import pytest

from app.model.artifact import open_artifact
from app.model.recommendation_lists import RecommendationLists, unpack_movie_ids
from tests.integration.training.conftest import Tables, run


@pytest.fixture(scope="module")
def unknown(tables: Tables, tmp_path_factory: pytest.TempPathFactory) -> Tables:
    """Held-out events, some of them of unknown users and movies."""
    directory = tmp_path_factory.mktemp("unknown")
    ratings = pl.read_parquet(tables.later_ratings)
    more = ratings.head(12).with_columns(
        user_id=pl.Series([*range(10**6, 10**6 + 6)] * 2), rating=pl.lit(2, pl.Float32)
    )
    movies = (
        ratings.unique("user_id").head(5).with_columns(movie_id=pl.lit("an+unknown+movie+2020"))
    )
    path = directory / "ratings.parquet"
    pl.concat([ratings, more, movies]).unique(["user_id", "movie_id"]).write_parquet(path)
    return Tables(tables.ratings, tables.watches, tables.users, path, tables.later_watches)


@pytest.fixture(scope="module")
def result(trained: Path, unknown: Tables) -> dict[str, Any]:
    files = ["--ratings", unknown.later_ratings, "--watches", unknown.later_watches]
    code, out, err = run("evaluate", "--model", trained, *files, "--k", 7, "--json")
    assert code == 0, err
    found: dict[str, Any] = json.loads(out)
    return found


@pytest.fixture(scope="module")
def held_out(unknown: Tables) -> dict[int, set[str]]:
    movies: dict[int, set[str]] = {}
    for path in (unknown.later_ratings, unknown.later_watches):
        for user, movie in pl.read_parquet(path, columns=["user_id", "movie_id"]).rows():
            movies.setdefault(user, set()).add(movie)
    return movies


def test_ranking_metrics_equal_a_plain_computation(
    trained: Path, result: dict[str, Any], held_out: dict[int, set[str]]
) -> None:
    lists = RecommendationLists.open(trained, length=7)
    rows = []
    for user, wanted in held_out.items():
        shown = lists.get(user).text.split(",")
        places = [place for place, movie in enumerate(shown) if movie in wanted]
        ideal = min(7, len(wanted))
        rows.append(
            (
                sum(1 / log2(p + 2) for p in places) / sum(1 / log2(p + 2) for p in range(ideal)),
                len(places) / len(wanted),
                len(places) / 7,
                sum((found + 1) / (place + 1) for found, place in enumerate(places)) / ideal,
            )
        )
    names = ("ndcg", "recall", "precision", "map")
    expected = dict(zip(names, np.mean(rows, axis=0), strict=True))
    assert {name: result[name] for name in names} == pytest.approx(expected)
    assert result["users"] == len(held_out)
    assert result["unknown_users"] == 6
    assert result["unknown_events"] == 5


def test_exposure_metrics_equal_a_plain_computation(
    trained: Path, result: dict[str, Any], held_out: dict[int, set[str]]
) -> None:
    lists = RecommendationLists.open(trained, length=7)
    factors = open_artifact(trained / "factors", "factors").arrays
    shown = [movie for user in held_out for movie in lists.get(user).text.split(",")]
    exposure = sorted(shown.count(movie) for movie in lists.movie_ids)
    movies = len(exposure)
    gini = sum((2 * rank - movies - 1) * count for rank, count in enumerate(exposure, 1))
    numbers = {name: number for number, name in enumerate(unpack_movie_ids(factors["movies"]))}
    assert result["coverage"] == pytest.approx(len(set(shown)) / movies)
    assert result["gini"] == pytest.approx(gini / (movies * len(shown)))
    popularity = np.mean([factors["movie_users"][numbers[movie]] for movie in shown])
    assert result["mean_popularity"] == pytest.approx(popularity)


def test_errors_equal_a_plain_computation(
    trained: Path, result: dict[str, Any], unknown: Tables
) -> None:
    factors = open_artifact(trained / "factors", "factors").arrays
    movies = unpack_movie_ids(factors["movies"])
    users = factors["users"].tolist()
    errors = []
    for user, movie, rating, _ in pl.read_parquet(unknown.later_ratings).rows():
        estimate = factors["svd_mean"][0]
        if user in users:
            row = users.index(user)
            estimate += factors["svd_user_bias"][row]
        if movie in movies:
            column = movies.index(movie)
            estimate += factors["svd_movie_bias"][column]
        if user in users and movie in movies:
            estimate += factors["svd_users"][row].astype(float) @ factors["svd_movies"][column]
        errors.append(min(max(estimate, 1), 5) - rating)
    assert result["ratings"] == len(errors)
    assert result["rmse"] == pytest.approx(sqrt(np.mean(np.square(errors))))
    assert result["mae"] == pytest.approx(np.mean(np.abs(errors)))


def test_the_quarters_by_activity_add_up_to_the_whole(result: dict[str, Any]) -> None:
    quarters = result["by_activity"]
    assert [quarter["quartile"] for quarter in quarters] == [1, 2, 3, 4]
    assert sum(quarter["users"] for quarter in quarters) == result["users"]
    assert quarters[0]["events"][0] == 0  # the unknown users
    whole = sum(quarter["ndcg"] * quarter["users"] for quarter in quarters)
    assert whole / result["users"] == pytest.approx(result["ndcg"])


def test_the_plain_output_shows_the_same_metrics(trained: Path, tables: Tables) -> None:
    code, out, _ = run("evaluate", "--model", trained, "--watches", tables.later_watches)
    assert code == 0
    assert "rmse            -" in out
    assert "ndcg            0." in out


def test_a_model_without_rating_predictor_has_no_rmse(tables: Tables, tmp_path: Path) -> None:
    assert run("train", "--watches", tables.watches, "--out", tmp_path / "m")[0] == 0
    command = ["evaluate", "--model", tmp_path / "m", "--ratings", tables.later_ratings, "--json"]
    assert json.loads(run(*command)[1])["rmse"] is None


def test_more_movies_than_the_lists_contain_are_an_error(trained: Path, tables: Tables) -> None:
    command = ["evaluate", "--model", trained, "--ratings", tables.later_ratings]
    code, _, err = run(*command, "--k", 51)
    assert code == 1
    assert "50 movies" in err


@pytest.mark.parametrize("model", ["none", "."])
def test_a_directory_without_a_model_is_an_error(
    tmp_path: Path, tables: Tables, model: str
) -> None:
    command = ["evaluate", "--model", tmp_path / model, "--ratings", tables.later_ratings]
    code, _, err = run(*command)
    assert code == 1
    assert "factors" in err


def test_no_tables_are_wrong_usage(trained: Path) -> None:
    assert run("evaluate", "--model", trained)[0] == 2


def test_the_replay_is_printed_by_lag_and_group_of_users(trained: Path, unknown: Tables) -> None:
    files = ["--ratings", unknown.later_ratings, "--watches", unknown.later_watches]
    command = ["evaluate", "--model", trained, *files, "--replay", "--max-events", 50]
    code, out, err = run(*command)
    assert code == 0, err
    assert "replay: the next movie among 20, 50 events" in out
    rows = [line.split() for line in out.partition("hit rate")[2].splitlines()[1:]]
    lags = ["1", "600", "3,600", "43,200", "172,800", "without"]
    assert [row[0] for row in rows if "all" in row] == lags
    assert len(rows) == 6 * 9
    found = json.loads(run(*command, "--json")[1])
    assert set(found) >= {"ndcg", "coverage", "replay"}
    replay = found["replay"]
    for lag in replay["lags"]:
        assert lag["known"]["events"] + lag["unknown"]["events"] == lag["events"] == 50
        assert sum(group["events"] for group in lag["by_movies"]) == 50
    assert replay["uses_recent_events"]


def test_events_without_times_are_not_replayed(
    trained: Path, tables: Tables, tmp_path: Path
) -> None:
    ratings = pl.read_parquet(tables.later_ratings)
    without = ratings.with_columns(time=pl.lit(None, pl.Datetime("us")))
    without.write_parquet(tmp_path / "ratings.parquet")
    command = ["evaluate", "--model", trained, "--ratings", tmp_path / "ratings.parquet"]
    code, out, err = run(*command, "--replay")
    assert code == 0, err
    assert "replay: no event has a time" in out
    assert json.loads(run(*command, "--replay", "--json")[1])["replay"] is None
