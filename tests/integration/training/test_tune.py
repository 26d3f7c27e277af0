import json
import shutil
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from app.training.fit import fit
from app.training.load import read_events
from app.training.params import BlendParams, Params, RecencyParams, read_params
from app.training.progress import Stages
from app.training.top_n import best_movies
from app.training.tuning.splits import random_split
from app.training.tuning.validation import Rehearsal
from tests.conftest import ROOT
from tests.integration.training.conftest import World, run

SMALL = "als: {factors: 8, iterations: 3}\nease: {max_movies: 70}\n"


def tune(world: World, directory: Path, *more: object) -> dict[str, Any]:
    (directory / "start.yaml").write_text(SMALL)
    tables = ["--ratings", world.ratings, "--watches", world.watches]
    out = ["--params", directory / "start.yaml", "--out", directory / "found.yaml"]
    code, stdout, err = run("tune", *tables, *out, "--budget", 25, "--json", *more)
    assert code == 0, err
    found: dict[str, Any] = json.loads(stdout)
    return found


@pytest.fixture(scope="module")
def result(world: World, tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, dict[str, Any]]:
    directory = tmp_path_factory.mktemp("tuned")
    return directory, tune(world, directory, "--report", directory / "docs" / "tuning.md")


def test_it_writes_parameters_that_are_better_and_can_be_read(
    result: tuple[Path, dict[str, Any]],
) -> None:
    directory, summary = result
    assert summary["score"]["after"] >= summary["score"]["before"]
    found = read_params(directory / "found.yaml")
    assert found.model_dump(mode="json") == summary["parameters"]
    assert found.als.iterations == 3
    assert set(summary["ndcg"]) == {"random", "newest", "moment", "newcomers"}
    assert summary["trials"] <= 26


def test_the_page_says_data_splits_seed_trials_and_best(
    result: tuple[Path, dict[str, Any]],
) -> None:
    directory, summary = result
    page = (directory / "docs" / "tuning.md").read_text()
    for part in ("180 users", "seed 0", f"{summary['trials']} trials", "**newcomers**", "| best |"):
        assert part in page
    assert f"{summary['score']['after']:.4f}" in page
    assert str(directory) not in page


def test_the_same_seed_finds_the_same(
    world: World, tmp_path: Path, result: tuple[Path, dict[str, Any]]
) -> None:
    again = tune(world, tmp_path)
    same = ("score", "ndcg", "changed", "trials")
    assert {key: again[key] for key in same} == {key: result[1][key] for key in same}
    assert sorted(path.name for path in tmp_path.iterdir()) == ["found.yaml", "start.yaml"]


def test_it_begins_with_the_project_s_file_and_keeps_its_comments(
    world: World, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    shutil.copy(ROOT / "params.yaml", tmp_path)
    monkeypatch.chdir(tmp_path)
    code, out, err = run("tune", "--ratings", world.ratings, "--budget", "4")
    assert code == 0, err
    assert "params.yaml: mean ndcg" in out
    assert "# Start of all random numbers" in (tmp_path / "params.yaml").read_text()
    assert (tmp_path / "docs" / "tuning.md").exists()


def test_a_rehearsal_makes_the_lists_that_training_makes(world: World) -> None:
    split = random_split(read_events(world.ratings, world.watches, (1, 5)), 0)
    params = Params(
        blend=BlendParams(als=1, ease=0.7, neighbours=0.4, popularity=0.2, newcomer=2, svd=0.3),
        recency=RecencyParams(half_life_events=5, ease=0.5),
    )
    found = Rehearsal(split, (1, 5)).lists(params)
    train, users = split.train, len(split.train.users)
    scores = fit(train, params, (1, 5), Stages()).scorer(train, params).scores(0, users)
    scores[train.user, train.item] = -np.inf
    expected = best_movies(scores, 10)[split.users]
    known = np.diff(train.start)[split.users] > 0
    assert (found[known] == expected[known]).mean() > 0.999  # but for ties by rounding


@pytest.mark.parametrize(
    "arguments", [(), ("--ratings", "r", "--budget", "0"), ("--ratings", "r", "--budget", "ten")]
)
def test_wrong_usage_is_exit_status_2(arguments: tuple[str, ...]) -> None:
    assert run("tune", *arguments)[0] == 2


def test_too_little_to_hold_out_is_refused(tmp_path: Path) -> None:
    (tmp_path / "r.csv").write_text("user_id,movie_id,rating,time\n7,a,1,\n")
    out = tmp_path / "p.yaml"
    code, _, err = run("tune", "--ratings", tmp_path / "r.csv", "--out", out)
    assert code == 1
    assert "too few events" in err
    assert not out.exists()
