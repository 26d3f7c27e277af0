import json
import os
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl
import pytest

from app.training.fit import fit_models
from app.training.load import load_interactions
from app.training.params import read_params
from app.training.stages import Stages
from app.training.top_n import top_k
from app.training.tuning.replay_evaluator import ReplayEvaluator
from app.training.tuning.split_evaluator import ModelCache, SplitEvaluator
from app.training.tuning.splits import random_split
from tests.conftest import ROOT
from tests.integration.training.conftest import Tables, run
from tests.support.params import make_params, write_params

SAME = ("score", "ndcg", "changed", "trials")


def command(tables: Tables, directory: Path, trials: int = 25) -> list[object]:
    """Search with a small model."""
    start = write_params(
        directory / "start.yaml", als={"factors": 8, "iterations": 3}, ease={"max_movies": 70}
    )
    inputs = ["--ratings", tables.ratings, "--watches", tables.watches, "--params", start]
    return ["tune", *inputs, "--out", directory / "found.yaml", "--budget", trials, "--json"]


def tune(tables: Tables, directory: Path, *more: object) -> dict[str, Any]:
    code, stdout, err = run(*command(tables, directory), *more)
    assert code == 0, err
    summary: dict[str, Any] = json.loads(stdout)
    return summary


@pytest.fixture(scope="module")
def result(tables: Tables, tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, dict[str, Any]]:
    directory = tmp_path_factory.mktemp("tuned")
    return directory, tune(tables, directory, "--report", directory / "docs" / "tuning.md")


def test_it_writes_better_parameters(result: tuple[Path, dict[str, Any]]) -> None:
    directory, summary = result
    assert summary["score"]["after"] > summary["score"]["before"]
    found = read_params(directory / "found.yaml")
    assert found.model_dump(mode="json") == summary["parameters"]
    assert found.als.iterations == 3
    splits = {"random", "per_user_temporal", "global_temporal", "cold_start"}
    assert set(summary["ndcg"]) == splits
    assert summary["trials"] <= 26


def test_the_page_shows_data_splits_seed_trials_and_the_best_score(
    result: tuple[Path, dict[str, Any]],
) -> None:
    directory, summary = result
    page = (directory / "docs" / "tuning.md").read_text()
    for part in (
        "180 users",
        "seed 0",
        f"{summary['trials']} trials",
        "**cold_start**",
        "| ease |",
    ):
        assert part in page
    assert f"{summary['score']['after']:.4f}" in page
    assert str(directory) not in page


def test_the_same_seed_finds_the_same_parameters(
    tables: Tables, tmp_path: Path, result: tuple[Path, dict[str, Any]]
) -> None:
    again = tune(tables, tmp_path)
    assert {key: again[key] for key in SAME} == {key: result[1][key] for key in SAME}
    assert sorted(path.name for path in tmp_path.iterdir()) == ["found.yaml", "start.yaml"]


def test_a_killed_search_is_resumed_from_its_journal(tables: Tables, tmp_path: Path) -> None:
    journal = tmp_path / "tuning.journal"
    arguments = command(tables, tmp_path, trials=8)
    expected = json.loads(run(*arguments)[1])
    (tmp_path / "found.yaml").unlink()
    arguments += ["--study", journal]
    process = subprocess.Popen([sys.executable, "-m", "app", *map(str, arguments)], cwd=ROOT)
    while not journal.exists() or journal.stat().st_size < 3000:  # a few trials
        assert process.poll() is None, "the search ended before it was killed"
        time.sleep(0.01)
    os.kill(process.pid, signal.SIGKILL)
    process.wait()
    assert not (tmp_path / "found.yaml").exists()
    resumed = json.loads(run(*arguments)[1])
    assert {key: resumed[key] for key in SAME} == {key: expected[key] for key in SAME}
    code, _, err = run(*arguments, "--seed", 5)
    assert code == 1
    assert "other seed" in err


def test_by_default_it_updates_the_file_of_the_project_and_its_page(
    tables: Tables, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    shutil.copy(ROOT / "params.yaml", tmp_path)
    monkeypatch.chdir(tmp_path)
    code, out, err = run("tune", "--ratings", tables.ratings, "--budget", "4")
    assert code == 0, err
    assert "params.yaml: mean ndcg" in out
    assert "# Seed of all random numbers" in (tmp_path / "params.yaml").read_text()
    assert (tmp_path / "docs" / "tuning.md").exists()


def test_an_evaluator_computes_the_lists_that_training_computes(tables: Tables) -> None:
    split = random_split(load_interactions(tables.ratings, tables.watches, (1, 5)), 0)
    params = make_params(
        blend={"als": 1, "ease": 0.7, "transitions": 0.4, "cold_start": 2, "svd": 0.3},
        recency={"half_life_events": 5, "ease_share": 0.5},
    )
    found = SplitEvaluator(split, ModelCache(split.train, (1, 5))).recommend(params)
    train, users = split.train, len(split.train.users)
    models = fit_models(train, params, (1, 5), Stages())
    scores = models.build_scorer(train, params).scores(0, users)
    scores[train.user, train.movie] = -np.inf
    expected = top_k(scores, 10)[split.users]
    known = np.diff(train.start)[split.users] > 0
    assert (found[known] == expected[known]).mean() > 0.999  # but for ties by rounding


@pytest.mark.parametrize(
    "arguments", [(), ("--ratings", "r", "--budget", "0"), ("--ratings", "r", "--budget", "ten")]
)
def test_wrong_usage_is_exit_status_2(arguments: tuple[str, ...]) -> None:
    assert run("tune", *arguments)[0] == 2


@pytest.mark.parametrize(
    ("arguments", "message"),
    [((), "too few events"), (("--fix", "als.iterations"), "als.iterations is not searched")],
)
def test_unsuitable_input_is_an_error(
    tmp_path: Path, arguments: tuple[str, ...], message: str
) -> None:
    (tmp_path / "r.csv").write_text("user_id,movie_id,rating,time\n7,a,1,\n")
    out = tmp_path / "p.yaml"
    code, _, err = run("tune", "--ratings", tmp_path / "r.csv", "--out", out, *arguments)
    assert code == 1
    assert message in err
    assert not out.exists()


def test_a_replay_searches_how_recent_events_count(tables: Tables, tmp_path: Path) -> None:
    arguments = [*command(tables, tmp_path, trials=6), "--replay", "--report", tmp_path / "page.md"]
    code, out, err = run(*arguments, "--fix", "recent.half_life_hours")
    assert code == 0, err
    summary = json.loads(out)
    assert set(summary["ndcg"]) == {"1 s", "10 min", "1 h", "12 h", "2 days"}
    assert summary["score"]["after"] >= summary["score"]["before"] > 0
    assert all(name.startswith("recent.") for name in summary["changed"])
    assert "recent.half_life_hours" not in summary["changed"]
    page = (tmp_path / "page.md").read_text()
    assert "`marquee tune --replay --budget 6`" in page
    assert "| `recent.ease_share` |" in page
    assert "als.factors" not in page


def test_a_replay_evaluator_computes_what_a_trained_model_recommends(
    tables: Tables, tmp_path: Path
) -> None:
    params = make_params(als={"factors": 8, "iterations": 3}, ease={"max_movies": 70})
    events = load_interactions(tables.ratings, tables.watches, (1, 5))
    evaluator = ReplayEvaluator(events, params, (1, 5), seed=0, max_events=None)
    scores = dict(evaluator.evaluate(params))
    newest = events.age_days < np.quantile(events.age_days, 0.25, method="lower")
    pairs = pl.DataFrame(
        {
            "user_id": events.users[events.user],
            "movie_id": np.array(events.movies)[events.movie],
            "late": newest,
        }
    )
    options: list[object] = []
    for late, name in ((False, "train"), (True, "test")):
        for table in ("ratings", "watches"):
            rows = pl.read_parquet(getattr(tables, table)).join(
                pairs.filter(pl.col("late") == late), on=["user_id", "movie_id"], how="semi"
            )
            rows.write_parquet(tmp_path / f"{name}-{table}.parquet")
        options = [f"--{t}={tmp_path}/{name}-{t}.parquet" for t in ("ratings", "watches")]
        if name == "train":
            start = write_params(
                tmp_path / "p.yaml", als={"factors": 8, "iterations": 3}, ease={"max_movies": 70}
            )
            code, _, err = run("train", *options, "--out", tmp_path / "model", "--params", start)
            assert code == 0, err
    _, out, _ = run("evaluate", "--model", tmp_path / "model", *options, "--replay", "--json")
    replay = json.loads(out)["replay"]
    assert [lag["ndcg"] for lag in replay["lags"]] == pytest.approx(list(scores.values()))


def test_a_replay_needs_times(tables: Tables, tmp_path: Path) -> None:
    ratings = pl.read_parquet(tables.ratings).with_columns(time=pl.lit(None, pl.Datetime("us")))
    ratings.write_parquet(tmp_path / "ratings.parquet")
    code, _, err = run(
        "tune", "--ratings", tmp_path / "ratings.parquet", "--replay", "--out", tmp_path / "p.yaml"
    )
    assert (code, "too few events with a time" in err) == (1, True)
