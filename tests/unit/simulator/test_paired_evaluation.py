import json
from pathlib import Path

import numpy as np
import polars as pl
import pytest
from click.testing import CliRunner

from app.cli import marquee
from app.model.artifact import ModelMetadata, write_array, write_manifest
from app.model.recommendation_lists import movie_number_dtype, pack_movie_ids
from app.simulator import paired_evaluation
from app.simulator.movies import DAY_SECONDS
from app.simulator.paired_evaluation import WatchedMovies
from app.simulator.sample_data import FloatArray
from tests.support.simulator import make_environment

ENVIRONMENT = make_environment()
N_MOVIES = 600


def write_model(directory: Path, users: list[int], noise: float) -> None:
    """Write a model with the users' best lists by true utility plus normal noise."""
    lists = directory / "lists"
    lists.mkdir(parents=True)
    rng = np.random.default_rng(1)
    dtype = movie_number_dtype(N_MOVIES)

    def best(utilities: FloatArray) -> list[int]:
        scores = utilities[:N_MOVIES] + (rng.normal(0, noise, N_MOVIES) if noise else 0)
        ordered: list[int] = scores.argsort()[::-1][:50].tolist()
        return ordered

    rows = [best(ENVIRONMENT.utilities(user, 0.0)) for user in users]
    write_array(lists, "movies", pack_movie_ids(ENVIRONMENT.movies.ids[:N_MOVIES]))
    write_array(lists, "users", np.array(users, np.int64))
    write_array(lists, "lists", np.array(rows, dtype))
    write_array(lists, "popular", np.arange(N_MOVIES).astype(dtype))
    write_array(lists, "segment_users", np.empty(0, np.int64))
    write_array(lists, "segment_of", np.empty(0, np.uint8))
    write_array(lists, "segment_popular", np.empty((0, 50), dtype))
    metadata = ModelMetadata(
        version=3, parameters={"seed": 1}, metrics={}, data={"hash": "d"}, code={}
    )
    write_manifest(lists, "lists", users=len(users), movies=N_MOVIES, metadata=metadata)


@pytest.fixture(scope="module")
def models(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A directory with a good model, an equal one, a bad one, and the users' watches."""
    directory = tmp_path_factory.mktemp("models")
    users = sorted({ENVIRONMENT.users.id_at(position) for position in range(300)})
    for name, noise in (("good", 0.0), ("equal", 0.0), ("bad", 0.7)):
        write_model(directory / name, users, noise)
    rows = [
        (user, ENVIRONMENT.movies.ids[movie])
        for user in users
        for movie in ENVIRONMENT.watched_before_start(user)
    ]
    table = pl.DataFrame(rows, schema=["user_id", "movie_id"], orient="row")
    table.write_parquet(directory / "watches.parquet")
    return directory


@pytest.fixture(scope="module")
def watched(models: Path) -> WatchedMovies:
    return paired_evaluation.read_watched_movies(ENVIRONMENT, models / "watches.parquet")


def compare_versions(models: Path, *names: str) -> tuple[int, list[tuple[bool, float]]]:
    """Run the command; return its exit status, and for each comparison `worse` and difference."""
    arguments = ["compare-versions", "--watches", str(models / "watches.parquet"), "--json"]
    paths = [str(models / name) for name in names]
    result = CliRunner().invoke(marquee, [*arguments, "--users", "300", *paths])
    comparisons = json.loads(result.stdout)["comparisons"]
    return result.exit_code, [(row["worse"], row["difference"]) for row in comparisons]


def test_a_worse_version_is_found_and_gives_exit_status_1(models: Path) -> None:
    status, rows = compare_versions(models, "bad", "good", "bad")
    assert status == 1
    assert [worse for worse, _ in rows] == [False, True]
    assert rows[0][1] > 0.2
    assert rows[1][1] < -0.2


def test_an_equal_version_is_not_worse(models: Path) -> None:
    assert compare_versions(models, "good", "equal", "good") == (0, [(False, 0.0), (False, 0.0)])


def test_watched_movies_are_left_out_of_the_lists(models: Path, watched: WatchedMovies) -> None:
    users = paired_evaluation.select_users(ENVIRONMENT, watched, 300)
    model = models / "good"
    full = paired_evaluation.list_utilities(ENVIRONMENT, model, users, {}, 0.0)
    without_watched = paired_evaluation.list_utilities(ENVIRONMENT, model, users, watched, 0.0)
    assert np.nanmean(without_watched) < np.nanmean(full)  # users watch what they like best


def test_more_comparisons_need_a_smaller_p_value() -> None:
    rng = np.random.default_rng(3)
    first = rng.normal(size=(400, 1))
    slightly_worse = first - 0.012 + rng.normal(0, 0.1, (400, 1))
    [single] = paired_evaluation.compare_consecutive(["1", "2"], [first, slightly_worse])
    assert 0.05 / 8 < single["p_value"] < 0.05
    assert single["worse"]
    names = [str(n) for n in range(9)]
    rows = paired_evaluation.compare_consecutive(names, [first] + [slightly_worse] * 8)
    assert not rows[0]["worse"]


def test_user_selection_is_reproducible_and_fills_up_to_the_count(watched: WatchedMovies) -> None:
    users = paired_evaluation.select_users(ENVIRONMENT, watched, 1000)
    assert len(set(users)) == 1000
    assert users == paired_evaluation.select_users(ENVIRONMENT, watched, 1000)
    assert set(watched) <= set(users)


def test_the_cold_start_report_groups_users_by_movies_watched(
    models: Path, watched: WatchedMovies
) -> None:
    users = paired_evaluation.select_users(ENVIRONMENT, watched, 400)
    rows = paired_evaluation.cold_start_report(
        ENVIRONMENT, models / "good", users, watched, DAY_SECONDS
    )
    assert rows[0]["watched"] == "0"
    assert sum(row["users"] for row in rows) == 400
    assert all(0 < row["share_of_best"] <= 1 for row in rows[1:]), rows
