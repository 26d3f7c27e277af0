import json
import os
import shutil
import subprocess
import sys
from datetime import timedelta
from pathlib import Path

import numpy as np
import polars as pl
import pytest
from ruamel.yaml import YAML

from app.model.artifact import open_artifact
from app.model.recommendation_lists import RecommendationLists
from app.model.verify import verify_model
from app.training.fit import fit_models
from app.training.load import load_interactions
from app.training.stages import Stages
from tests.integration.training.conftest import Tables, run
from tests.support.params import make_params, write_params
from tests.support.waiting import eventually


def test_a_model_is_complete_and_verified(trained: Path) -> None:
    assert set(verify_model(trained)) == {"lists", "factors"}
    manifest = open_artifact(trained / "lists", "lists").manifest
    assert manifest.data["ratings"] > 0
    assert manifest.data["watches"] > 0
    assert manifest.parameters["als"]["factors"] == 64
    assert manifest.parameters["rating_scale"] == [1, 5]
    assert manifest.code["scikit-surprise"]


def test_no_list_holds_what_the_user_has_watched_or_rated(tables: Tables, trained: Path) -> None:
    seen: dict[int, set[str]] = {}
    for path in (tables.ratings, tables.watches):
        for user, movie in pl.read_parquet(path, columns=["user_id", "movie_id"]).rows():
            seen.setdefault(user, set()).add(movie)
    lists = RecommendationLists.open(trained, length=50)
    assert lists.user_ids.tolist() == sorted(seen)
    for user, movies in seen.items():
        recommendation = lists.get(user)
        assert recommendation.source == "personal"
        listed = recommendation.text.split(",")
        assert not movies & set(listed)
        assert len(set(listed)) == len(listed) == min(50, 110 - len(movies))


def test_only_users_with_events_in_the_last_days_have_a_list(
    tables: Tables, trained: Path, tmp_path: Path
) -> None:
    expected = open_artifact(trained / "lists", "lists")
    parameters = dict(expected.manifest.parameters)
    parameters.pop("rating_scale")
    parameters["lists"] = {**parameters["lists"], "active_days": 1.5}
    YAML().dump(parameters, tmp_path / "params.yaml")
    arguments = ["--ratings", tables.ratings, "--watches", tables.watches, "--users", tables.users]
    model = tmp_path / "model"
    code, _, err = run("train", *arguments, "--params", tmp_path / "params.yaml", "--out", model)
    assert code == 0, err
    manifests = verify_model(model)
    newest = pl.concat(
        [
            pl.read_parquet(tables.ratings).select("user_id", "time"),
            pl.read_parquet(tables.watches).select("user_id", time="last_time"),
        ]
    )
    oldest = newest["time"].max() - timedelta(days=1.5)  # type: ignore[operator]
    active = newest.filter(pl.col("time") >= oldest)["user_id"].unique().sort().to_numpy()
    everybody = expected.arrays["users"]
    assert 0 < len(active) < len(everybody)
    assert manifests["lists"].users == len(active)
    assert manifests["factors"].users == len(everybody)
    found = open_artifact(model / "lists", "lists").arrays
    assert found["users"].tolist() == active.tolist()
    same = found["lists"] == expected.arrays["lists"][np.isin(everybody, active)]
    assert same.mean() > 0.99  # where rounding orders equal scores otherwise
    lists = RecommendationLists.open(model)
    assert lists.get(int(np.setdiff1d(everybody, active)[0])).source == "popular"
    assert lists.get(int(active[0])).source == "personal"
    code, out, err = run("evaluate", "--model", model, "--ratings", tables.later_ratings, "--json")
    assert code == 0, err
    assert json.loads(out)["ndcg"] > 0


def test_a_user_without_events_gets_the_movies_of_the_segment(trained: Path) -> None:
    lists = RecommendationLists.open(trained)
    assert lists.get(10**12).source == "popular"
    segments = open_artifact(trained / "lists", "lists").arrays
    unknown = np.setdiff1d(segments["segment_users"], segments["users"])
    assert len(unknown) > 0
    assert lists.get(int(unknown[0])).text.count(",") == 19


def test_lists_are_those_of_a_fresh_scoring_from_the_factors(trained: Path) -> None:
    factors = open_artifact(trained / "factors", "factors")
    lists = open_artifact(trained / "lists", "lists").arrays["lists"]
    a = {name: array.astype(float) for name, array in factors.arrays.items()}
    start, seen = factors.arrays["seen_start"], factors.arrays["seen_movies"]
    weights = factors.manifest.parameters["blend"]
    movies = factors.manifest.movies
    for user in range(0, factors.manifest.users, 7):
        mine = slice(start[user], start[user + 1])
        watched = np.zeros(movies)
        watched[seen[mine]] = a["seen_confidence"][mine] * (0.6 + 0.4 * a["seen_recency"][mine])
        ease = np.zeros(movies)
        ease_movies = factors.arrays["ease_movies"]
        ease[ease_movies] = watched[ease_movies] @ a["ease_weights"]
        parts = {
            "als": a["als_movies"] @ a["als_users"][user],
            "ease": ease,
            "popularity": a["popularity"],
            "svd": a["svd_movies"] @ a["svd_users"][user] + a["svd_movie_bias"],
        }
        if not a["svd_users"][user].any():
            parts["svd"] *= 0
        weight = dict(weights)
        weight["popularity"] += weights["cold_start"] / len(seen[mine])
        recency = a["seen_recency"][mine]
        halved = 0.5 ** (np.arange(len(recency)) / 7)
        np.testing.assert_allclose(np.sort(recency)[::-1], halved, rtol=1e-5)
        recent = np.zeros(movies)
        recent[seen[mine]] = a["seen_confidence"][mine] * recency
        transitions = np.zeros(movies)
        near = factors.arrays["transition_movies"]
        transitions[near] = recent[near] @ a["transition_weights"]
        parts["transitions"] = transitions
        total = np.zeros(movies)
        for name, scores in parts.items():
            total += weight[name] * (scores - scores.mean()) / (scores.std() or 1)
        total[seen[mine]] = -np.inf
        found = [movie for movie in lists[user].tolist() if movie < movies]
        assert len(found) == min(50, movies - len(seen[mine]))
        # Adjacent scores in the list may be equal but for rounding.
        assert (np.diff(total[found]) < 1e-4).all()
        assert total[found[-1]] >= np.sort(total)[-len(found)] - 1e-4


@pytest.mark.parametrize("seeds", [(3, 3), (3, 4)])
def test_the_same_seed_gives_the_same_model_in_another_process(
    tables: Tables, tmp_path: Path, seeds: tuple[int, int]
) -> None:
    hashes = []
    for number, (seed, hash_seed) in enumerate(zip(seeds, "12", strict=True)):
        out = tmp_path / str(number)
        command = ["-m", "app", "train", "--ratings", tables.ratings, "--watches", tables.watches]
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
        metrics = run("evaluate", "--model", out, "--ratings", tables.later_ratings, "--json")[1]
        hashes.append(([m.model_hash for m in manifests.values()], metrics))
    assert (hashes[0] == hashes[1]) == (seeds[0] == seeds[1])


def test_ratings_alone_are_enough(tables: Tables, tmp_path: Path) -> None:
    code, out, _ = run("train", "--ratings", tables.ratings, "--out", tmp_path / "m", "--json")
    assert code == 0
    summary = json.loads(out)
    assert summary["metrics"]["svd"]["training_rmse"] < 1
    assert summary["data"]["watches"] == 0
    assert list(summary["seconds"]) == [
        "read", "confidence", "als", "ease", "transitions", "svd", "recency", "metrics", "lists",
        "write",
    ]  # fmt: skip


def test_each_stage_reports_its_time_and_peak_memory(tables: Tables, tmp_path: Path) -> None:
    code, out, _ = run("train", "--ratings", tables.ratings, "--out", tmp_path / "m", "--json")
    assert code == 0
    summary = json.loads(out)
    assert set(summary["peak_mb"]) == set(summary["cpu_seconds"]) == set(summary["seconds"])
    assert sum(summary["cpu_seconds"].values()) > 0
    assert min(summary["peak_mb"].values()) > 50


def test_movie_lengths_change_the_model_and_are_counted_in_its_data(
    tables: Tables, tmp_path: Path
) -> None:
    movies = pl.read_parquet(tables.watches, columns=["movie_id"]).unique().sort("movie_id")
    movies[:60].with_columns(length=pl.lit(100)).write_csv(tmp_path / "movies.csv")
    plain = ["train", "--watches", tables.watches, "--json"]
    with_lengths = [*plain, "--movies", tmp_path / "movies.csv"]
    summaries = [
        json.loads(run(*command, "--out", tmp_path / "m")[1]) for command in (plain, with_lengths)
    ]
    assert [summary["data"]["lengths"] for summary in summaries] == [0, 60]
    assert summaries[0]["model_hash"] != summaries[1]["model_hash"]
    manifest = open_artifact(tmp_path / "m" / "factors", "factors").manifest
    assert manifest.data["lengths"] == 60


def test_watches_alone_are_enough_for_a_model_without_rating_predictor(
    tables: Tables, tmp_path: Path
) -> None:
    code, out, _ = run("train", "--watches", tables.watches, "--out", tmp_path / "m", "--json")
    assert code == 0
    assert json.loads(out)["metrics"] == {"svd": None}
    assert "svd_mean" not in open_artifact(tmp_path / "m" / "factors", "factors").arrays
    verify_model(tmp_path / "m")


def test_a_single_event_is_enough(tmp_path: Path) -> None:
    (tmp_path / "r.csv").write_text("user_id,movie_id,rating,time\n7,a,1,\n")
    code, out, err = run("train", "--ratings", tmp_path / "r.csv", "--out", tmp_path / "m")
    assert code == 0, err
    assert "1 users, 1 movies" in out
    verify_model(tmp_path / "m")
    assert RecommendationLists.open(tmp_path / "m").get(8).text == "a"


def test_the_version_comes_from_the_file_or_the_option(
    tables: Tables, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    params = write_params(tmp_path / "params.yaml")
    command = ["train", "--ratings", tables.ratings, "--out", "m", "--json", "--params", params]
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
        ("user,picture,note\n1,a,3\n", "no column movie and no column rating"),
        ("user_id,movie_id,rating,time\n1,a,NaN,\n", "r.csv"),
        ("user_id,movie_id,rating,time\n1,a,9,\n", "1.0 to 5.0"),
        ("user_id,movie_id,rating,time\nx,a,3,\n", "r.csv"),
    ],
)
def test_invalid_input_is_an_error_and_the_old_model_stays(
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


def test_a_table_without_events_is_an_error(tables: Tables, tmp_path: Path) -> None:
    pl.read_parquet(tables.watches).clear().write_parquet(tmp_path / "w.parquet")
    code, _, err = run("train", "--watches", tmp_path / "w.parquet", "--out", tmp_path / "m")
    assert code == 1
    assert "no events" in err


def test_a_directory_that_is_not_a_model_is_not_replaced(tables: Tables, tmp_path: Path) -> None:
    (tmp_path / "other.txt").write_text("mine")
    code, _, err = run("train", "--ratings", tables.ratings, "--out", tmp_path)
    assert code == 1
    assert "other.txt" in err
    assert (tmp_path / "other.txt").read_text() == "mine"


def test_a_model_is_replaced_whole(tables: Tables, tmp_path: Path) -> None:
    for source in (["--ratings", tables.ratings], ["--watches", tables.watches]):
        assert run("train", *source, "--out", tmp_path / "m")[0] == 0
    assert "svd_mean" not in open_artifact(tmp_path / "m" / "factors", "factors").arrays
    assert [path.name for path in tmp_path.iterdir()] == ["m"]


def test_unknown_parameters_are_an_error(tables: Tables, tmp_path: Path) -> None:
    (tmp_path / "p.yaml").write_text("als: {factor: 3}\n")
    command = ["train", "--ratings", tables.ratings, "--out", tmp_path / "m"]
    code, _, err = run(*command, "--params", tmp_path / "p.yaml")
    assert code == 1
    assert "unknown key als.factor" in err


@pytest.mark.parametrize("arguments", [(), ("--out", "m"), ("--ratings", "r", "--seed", "-1")])
def test_wrong_usage_is_exit_status_2(arguments: tuple[str, ...]) -> None:
    assert run("train", *arguments)[0] == 2


def test_a_separate_process_fits_the_same_svd(
    tables: Tables, monkeypatch: pytest.MonkeyPatch
) -> None:
    events = load_interactions(tables.ratings, tables.watches, (1, 5))
    here = fit_models(events, make_params(), (1, 5), Stages()).svd
    monkeypatch.setattr("app.training.fit._MIN_RATINGS_FOR_PROCESS", 0)
    beside = fit_models(events, make_params(), (1, 5), Stages()).svd
    assert here is not None
    assert beside is not None
    for name, array in here.to_arrays().items():
        assert np.array_equal(array, beside.to_arrays()[name]), name


#: `marquee train` that fits the SVD in a process of its own, whatever the number of ratings.
_TRAIN_BESIDE = """
import sys
from app.cli import main
from app.training import fit
fit._MIN_RATINGS_FOR_PROCESS = 0
main(sys.argv[1:])
"""


def test_a_training_that_is_killed_leaves_no_process_and_the_model_of_before(
    tables: Tables, trained: Path, tmp_path: Path
) -> None:
    model = tmp_path / "m"
    shutil.copytree(trained, model)
    before = verify_model(model)
    params = write_params(tmp_path / "params.yaml", svd={"epochs": 1_000_000})
    command = ["train", "--ratings", tables.ratings, "--params", params, "--out", model]
    arguments = [sys.executable, "-c", _TRAIN_BESIDE, *map(str, command)]
    with subprocess.Popen(arguments, stderr=subprocess.DEVNULL) as training:
        eventually(lambda: _find_workers(training.pid), 300, "a process that fits the SVD")
        workers = _find_workers(training.pid)
        training.kill()
    eventually(lambda: not any(map(_computes, workers)), 120, "the end of that process")
    assert verify_model(model) == before
    assert {path.name for path in tmp_path.iterdir()} == {"m", "params.yaml"}
    assert run("train", "--ratings", tables.ratings, "--out", model)[0] == 0


def _find_workers(parent: int) -> list[int]:
    """Return the children of a process that compute for it."""
    children = Path(f"/proc/{parent}/task/{parent}/children").read_text(encoding="ascii")
    return [child for child in map(int, children.split()) if _computes(child)]


def _computes(process: int) -> bool:
    """Whether a process is a running worker: one that has ended has no arguments."""
    try:
        return b"spawn_main" in Path(f"/proc/{process}/cmdline").read_bytes()
    except OSError:
        return False
