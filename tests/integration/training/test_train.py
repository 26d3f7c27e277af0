import json
import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import polars as pl
import pytest

from app.model.artifact import open_artifact
from app.model.recommendation_lists import RecommendationLists
from app.model.verify import verify_model
from app.training.fit import fit
from app.training.load import read_events
from app.training.params import Params
from app.training.progress import Stages
from tests.integration.training.conftest import World, run


def test_a_model_is_complete_and_verified(trained: Path) -> None:
    assert set(verify_model(trained)) == {"lists", "factors"}
    manifest = open_artifact(trained / "lists", "lists").manifest
    assert manifest.data["ratings"] > 0
    assert manifest.data["watches"] > 0
    assert manifest.parameters["als"]["factors"] == 64
    assert manifest.parameters["rating_scale"] == [1, 5]
    assert manifest.code["implicit"]


def test_no_list_holds_what_the_user_has_watched_or_rated(world: World, trained: Path) -> None:
    seen: dict[int, set[str]] = {}
    for path in (world.ratings, world.watches):
        for user, movie in pl.read_parquet(path, columns=["user_id", "movie_id"]).rows():
            seen.setdefault(user, set()).add(movie)
    lists = RecommendationLists.open(trained, length=50)
    assert lists.user_ids.tolist() == sorted(seen)
    for user, movies in seen.items():
        answer = lists.get(user)
        assert answer.source == "personal"
        listed = answer.text.split(",")
        assert not movies & set(listed)
        assert len(set(listed)) == len(listed) == min(50, 110 - len(movies))


def test_a_user_without_events_gets_the_movies_of_the_segment(trained: Path) -> None:
    lists = RecommendationLists.open(trained)
    assert lists.get(10**12).source == "popular"
    segments = open_artifact(trained / "lists", "lists").arrays
    strangers = np.setdiff1d(segments["segment_users"], segments["users"])
    assert len(strangers) > 0
    assert lists.get(int(strangers[0])).text.count(",") == 19


def test_lists_are_those_of_a_fresh_scoring_from_the_factors(trained: Path) -> None:
    factors = open_artifact(trained / "factors", "factors")
    lists = open_artifact(trained / "lists", "lists").arrays["lists"]
    a = {name: array.astype(float) for name, array in factors.arrays.items()}
    start, seen = factors.arrays["seen_start"], factors.arrays["seen_items"]
    weights = factors.manifest.parameters["blend"]
    movies = factors.manifest.movies
    for user in range(0, factors.manifest.users, 7):
        mine = slice(start[user], start[user + 1])
        watched = np.zeros(movies)
        watched[seen[mine]] = a["seen_strength"][mine] * (0.6 + 0.4 * a["seen_fading"][mine])
        ease = np.zeros(movies)
        ease_movies = factors.arrays["ease_movies"]
        ease[ease_movies] = watched[ease_movies] @ a["ease_weights"]
        parts = {
            "als": a["als_items"] @ a["als_users"][user],
            "ease": ease,
            "popularity": a["popularity"],
            "svd": a["svd_items"] @ a["svd_users"][user] + a["svd_item_bias"],
        }
        if not a["svd_users"][user].any():
            parts["svd"] *= 0
        weight = dict(weights)
        weight["popularity"] += weights["newcomer"] / len(seen[mine])
        fading = a["seen_fading"][mine]
        halved = 0.5 ** (np.arange(len(fading)) / 7)
        np.testing.assert_allclose(np.sort(fading)[::-1], halved, rtol=1e-5)
        faded = np.zeros(movies)
        faded[seen[mine]] = a["seen_strength"][mine] * fading
        neighbours = np.zeros(movies)
        near = factors.arrays["neighbour_movies"]
        neighbours[near] = faded[near] @ a["neighbour_weights"]
        parts["neighbours"] = neighbours
        total = np.zeros(movies)
        for name, scores in parts.items():
            total += weight[name] * (scores - scores.mean()) / (scores.std() or 1)
        total[seen[mine]] = -np.inf
        found = [movie for movie in lists[user].tolist() if movie < movies]
        assert len(found) == min(50, movies - len(seen[mine]))
        # Scores of neighbours in the list may be equal but for rounding.
        assert (np.diff(total[found]) < 1e-4).all()
        assert total[found[-1]] >= np.sort(total)[-len(found)] - 1e-4


@pytest.mark.parametrize("seeds", [(3, 3), (3, 4)])
def test_the_same_seed_gives_the_same_model_in_another_process(
    world: World, tmp_path: Path, seeds: tuple[int, int]
) -> None:
    hashes = []
    for number, (seed, hash_seed) in enumerate(zip(seeds, "12", strict=True)):
        out = tmp_path / str(number)
        command = ["-m", "app", "train", "--ratings", world.ratings, "--watches", world.watches]
        result = subprocess.run(
            [sys.executable, *map(str, command), "--out", str(out), "--seed", str(seed), "--json"],
            capture_output=True,
            text=True,
            check=False,
            env={**os.environ, "PYTHONHASHSEED": hash_seed},
        )
        assert result.returncode == 0, result.stderr
        manifests = verify_model(out)
        assert json.loads(result.stdout)["model_hash"] == manifests["lists"].model_hash
        metrics = run("evaluate", "--model", out, "--ratings", world.later_ratings, "--json")[1]
        hashes.append(([m.model_hash for m in manifests.values()], metrics))
    assert (hashes[0] == hashes[1]) == (seeds[0] == seeds[1])


def test_ratings_alone_are_enough(world: World, tmp_path: Path) -> None:
    code, out, _ = run("train", "--ratings", world.ratings, "--out", tmp_path / "m", "--json")
    assert code == 0
    summary = json.loads(out)
    assert summary["metrics"]["svd"]["training_rmse"] < 1
    assert summary["data"]["watches"] == 0
    assert {"read", "svd", "als", "ease", "neighbours", "lists", "write"} == set(summary["seconds"])


def test_each_stage_says_its_time_and_its_peak_memory(world: World, tmp_path: Path) -> None:
    code, out, _ = run("train", "--ratings", world.ratings, "--out", tmp_path / "m", "--json")
    assert code == 0
    summary = json.loads(out)
    assert set(summary["peak_mb"]) == set(summary["seconds"])
    assert min(summary["peak_mb"].values()) > 50


def test_movie_lengths_make_another_model_and_are_in_its_data(world: World, tmp_path: Path) -> None:
    movies = pl.read_parquet(world.watches, columns=["movie_id"]).unique().sort("movie_id")
    movies[:60].with_columns(length=pl.lit(100)).write_csv(tmp_path / "movies.csv")
    plain = ["train", "--watches", world.watches, "--json"]
    with_lengths = [*plain, "--movies", tmp_path / "movies.csv"]
    summaries = [
        json.loads(run(*command, "--out", tmp_path / "m")[1]) for command in (plain, with_lengths)
    ]
    assert [summary["data"]["lengths"] for summary in summaries] == [0, 60]
    assert summaries[0]["model_hash"] != summaries[1]["model_hash"]
    manifest = open_artifact(tmp_path / "m" / "factors", "factors").manifest
    assert manifest.data["lengths"] == 60


def test_watches_alone_are_enough_and_make_no_rating_predictor(
    world: World, tmp_path: Path
) -> None:
    code, out, _ = run("train", "--watches", world.watches, "--out", tmp_path / "m", "--json")
    assert code == 0
    assert json.loads(out)["metrics"] == {"svd": None}
    assert "svd_mean" not in open_artifact(tmp_path / "m" / "factors", "factors").arrays
    verify_model(tmp_path / "m")


def test_one_single_event_is_enough(tmp_path: Path) -> None:
    (tmp_path / "r.csv").write_text("user_id,movie_id,rating,time\n7,a,1,\n")
    code, out, err = run("train", "--ratings", tmp_path / "r.csv", "--out", tmp_path / "m")
    assert code == 0, err
    assert "1 users, 1 movies" in out
    verify_model(tmp_path / "m")
    assert RecommendationLists.open(tmp_path / "m").get(8).text == "a"


def test_the_version_comes_from_the_file_or_the_option(
    world: World, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    command = ["train", "--ratings", world.ratings, "--out", "m", "--json"]
    assert json.loads(run(*command)[1])["version"] == 0
    (tmp_path / "version.txt").write_text("41\n")
    assert json.loads(run(*command)[1])["version"] == 41
    assert json.loads(run(*command, "--version-number", 5)[1])["version"] == 5
    (tmp_path / "version.txt").write_text("v41\n")
    assert run(*command)[0] == 1


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (None, "r.csv"),
        ("", "r.csv"),
        ("user_id,movie_id,rating,time\n", "r.csv"),
        ("user,picture,stars\n1,a,3\n", "no column movie and no column rating"),
        ("user_id,movie_id,rating,time\n1,a,NaN,\n", "r.csv"),
        ("user_id,movie_id,rating,time\n1,a,9,\n", "1.0 to 5.0"),
        ("user_id,movie_id,rating,time\nx,a,3,\n", "r.csv"),
    ],
)
def test_input_that_cannot_be_used_is_refused_and_the_old_model_stays(
    tmp_path: Path, trained: Path, content: str | None, message: str
) -> None:
    if content is not None:
        (tmp_path / "r.csv").write_text(content)
    before = (trained / "lists" / "manifest.json").read_bytes()
    code, out, err = run("train", "--ratings", tmp_path / "r.csv", "--out", trained)
    assert (code, out) == (1, "")
    assert message in err
    assert "Traceback" not in err
    assert (trained / "lists" / "manifest.json").read_bytes() == before


def test_a_table_without_events_is_refused(world: World, tmp_path: Path) -> None:
    pl.read_parquet(world.watches).clear().write_parquet(tmp_path / "w.parquet")
    code, _, err = run("train", "--watches", tmp_path / "w.parquet", "--out", tmp_path / "m")
    assert code == 1
    assert "no events" in err


def test_a_directory_that_is_no_model_is_not_replaced(world: World, tmp_path: Path) -> None:
    (tmp_path / "precious.txt").write_text("mine")
    code, _, err = run("train", "--ratings", world.ratings, "--out", tmp_path)
    assert code == 1
    assert "precious.txt" in err
    assert (tmp_path / "precious.txt").read_text() == "mine"


def test_a_model_is_replaced_whole(world: World, tmp_path: Path) -> None:
    for source in (["--ratings", world.ratings], ["--watches", world.watches]):
        assert run("train", *source, "--out", tmp_path / "m")[0] == 0
    assert "svd_mean" not in open_artifact(tmp_path / "m" / "factors", "factors").arrays
    assert [path.name for path in tmp_path.iterdir()] == ["m"]


def test_unknown_parameters_are_refused(world: World, tmp_path: Path) -> None:
    (tmp_path / "p.yaml").write_text("als: {factor: 3}\n")
    command = ["train", "--ratings", world.ratings, "--out", tmp_path / "m"]
    code, _, err = run(*command, "--params", tmp_path / "p.yaml")
    assert code == 1
    assert "unknown key als.factor" in err


@pytest.mark.parametrize("arguments", [(), ("--out", "m"), ("--ratings", "r", "--seed", "-1")])
def test_wrong_usage_is_exit_status_2(arguments: tuple[str, ...]) -> None:
    assert run("train", *arguments)[0] == 2


def test_a_process_of_its_own_fits_the_same_ratings(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    events = read_events(world.ratings, world.watches, (1, 5))
    here = fit(events, Params(), (1, 5), Stages()).ratings
    monkeypatch.setattr("app.training.fit._WORTH_A_PROCESS", 0)
    beside = fit(events, Params(), (1, 5), Stages()).ratings
    assert here is not None
    assert beside is not None
    for name, array in here.to_arrays().items():
        assert np.array_equal(array, beside.to_arrays()[name]), name
