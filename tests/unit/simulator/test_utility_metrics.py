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
from app.simulator.choice_model import Choice
from app.simulator.environment import World
from app.simulator.movies import DAY
from app.simulator.sample_data import Floats
from app.simulator.utility_metrics import Truth
from tests.unit.simulator.environments import world

WORLD = world()


def choice(recommended: float | None, unaided: float = 1.0, watched: int = 0) -> Choice:
    return Choice(1, 2.0, unaided, recommended, recommended, 4.0, watched)


def test_it_keeps_what_choices_were_worth_by_version() -> None:
    truth = Truth()
    for version, worth in (("1", 1.5), ("1", 2.5), ("2", 3.0), ("2", None)):
        truth.add(version, choice(worth), is_founder=True)
    versions = truth.versions()
    assert versions["1"]["choices"] == 2
    assert versions["1"]["recommended"] == 2.0
    assert versions["1"]["gain"] == 1.0
    assert versions["1"]["gain_error"] == pytest.approx(0.5 / 2**0.5, abs=1e-4)
    assert versions["1"]["share_of_best"] == 0.5
    assert versions["2"]["choices"] == 1
    assert truth.cold_start() == []


def test_it_tells_new_users_by_the_movies_they_watched() -> None:
    truth = Truth()
    for watched in (0, 1, 2, 3, 4, 5, 40):
        truth.add("1", choice(2.0, watched=watched), is_founder=False)
    assert [(row["watched"], row["choices"]) for row in truth.cold_start()] == [
        ("0", 1), ("1", 1), ("2", 1), ("3-4", 2), ("5-8", 1), ("33+", 1),
    ]  # fmt: skip


def write_model(directory: Path, here: World, users: list[int], noise: float) -> Path:
    """Lists that are right but for some noise."""
    lists = directory / "lists"
    lists.mkdir(parents=True)
    chance = np.random.default_rng(1)
    names = here.movies.ids[:600]
    dtype = movie_number_dtype(len(names))

    def best(true: Floats) -> list[int]:
        looks = true[:600] + chance.normal(0, noise, 600) if noise else true[:600]
        ordered: list[int] = looks.argsort()[::-1][:50].tolist()
        return ordered

    rows = [best(here.utilities(user, 0.0)) for user in users]
    write_array(lists, "movies", pack_movie_ids(names))
    write_array(lists, "users", np.array(users, np.int64))
    write_array(lists, "lists", np.array(rows, dtype))
    write_array(lists, "popular", np.arange(600).astype(dtype))
    write_array(lists, "segment_users", np.empty(0, np.int64))
    write_array(lists, "segment_of", np.empty(0, np.uint8))
    write_array(lists, "segment_popular", np.empty((0, 50), dtype))
    metadata = ModelMetadata(
        version=3, parameters={"seed": 1}, metrics={}, data={"hash": "d"}, code={}
    )
    write_manifest(lists, "lists", users=len(users), movies=600, metadata=metadata)
    return directory


@pytest.fixture(scope="module")
def models(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A good model, its equal, one hardly worse and a bad one; and who watched what."""
    place = tmp_path_factory.mktemp("versions")
    users = sorted({WORLD.people.at(n) for n in range(300)})
    for name, noise in (("good", 0.0), ("equal", 0.0), ("bad", 0.7)):
        write_model(place / name, WORLD, users, noise)
    rows = [
        (user, WORLD.movies.ids[movie]) for user in users for movie in WORLD.watched_before(user)
    ]
    pl.DataFrame(rows, schema=["user_id", "movie_id"], orient="row").write_parquet(
        place / "watches.parquet"
    )
    return place


def comparison(models: Path, *names: str) -> tuple[int, list[tuple[bool, float]]]:
    arguments = ["compare-versions", "--watches", str(models / "watches.parquet"), "--json"]
    paths = [str(models / name) for name in names]
    done = CliRunner().invoke(marquee, [*arguments, "--users", "300", *paths])
    result = json.loads(done.stdout)
    return done.exit_code, [(row["worse"], row["difference"]) for row in result["comparisons"]]


def test_a_worse_version_is_found_and_ends_with_status_1(models: Path) -> None:
    status, rows = comparison(models, "bad", "good", "bad")
    assert status == 1
    assert [worse for worse, _ in rows] == [False, True]
    assert rows[0][1] > 0.2
    assert rows[1][1] < -0.2


def test_an_equal_version_is_no_worse(models: Path) -> None:
    assert comparison(models, "good", "equal", "good") == (0, [(False, 0.0), (False, 0.0)])


def test_what_was_watched_since_counts_for_neither_version(models: Path) -> None:
    watched = paired_evaluation.read_watched(WORLD, models / "watches.parquet")
    users = paired_evaluation.choose_users(WORLD, watched, 300)
    before = paired_evaluation.worth_of(WORLD, models / "good", users, {}, 0.0)
    after = paired_evaluation.worth_of(WORLD, models / "good", users, watched, 0.0)
    assert np.nanmean(after) < np.nanmean(before)  # what they like best is gone


def test_many_comparisons_must_be_more_certain() -> None:
    chance = np.random.default_rng(3)
    start = chance.normal(size=(400, 1))
    slightly = start - 0.012 + chance.normal(0, 0.1, (400, 1))
    alone = paired_evaluation.compare(["1", "2"], [start, slightly])
    rows = paired_evaluation.compare([str(n) for n in range(9)], [start] + [slightly] * 8)
    assert 0.05 / 8 < alone[0]["p_worse"] < 0.05
    assert alone[0]["worse"]
    assert not rows[0]["worse"]


def test_users_are_the_same_each_time_and_as_many_as_asked(models: Path) -> None:
    watched = paired_evaluation.read_watched(WORLD, models / "watches.parquet")
    users = paired_evaluation.choose_users(WORLD, watched, 1000)
    assert len(set(users)) == 1000
    assert users == paired_evaluation.choose_users(WORLD, watched, 1000)
    assert set(watched) <= set(users)


def test_cold_start_is_told_by_the_number_of_movies(models: Path) -> None:
    watched = paired_evaluation.read_watched(WORLD, models / "watches.parquet")
    users = paired_evaluation.choose_users(WORLD, watched, 400)
    rows = paired_evaluation.cold_start(WORLD, models / "good", users, watched, DAY)
    assert rows[0]["watched"] == "0"
    assert sum(row["users"] for row in rows) == 400
    assert all(0 < row["share_of_best"] <= 1 for row in rows[1:]), rows
