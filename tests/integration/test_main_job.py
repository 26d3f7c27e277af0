"""The main job on real input: log and ratings in, a model, answers. Figures are printed."""

import json
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from tests.conftest import ROOT
from tests.integration.service.conftest import serving

Marquee = Callable[..., dict[str, Any]]


@pytest.fixture(scope="module")
def place(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("main_job")


@pytest.fixture(scope="module")
def run() -> Marquee:
    def run(*arguments: object) -> dict[str, Any]:
        done = subprocess.run(
            [sys.executable, "-m", "app", *map(str, arguments), "--json"],
            cwd=ROOT, capture_output=True, text=True, timeout=120, check=False,
        )  # fmt: skip
        assert done.returncode == 0, done.stderr
        result: dict[str, Any] = json.loads(done.stdout)
        return result

    return run


@pytest.fixture(scope="module")
def collected(run: Marquee, shared_data: Path, place: Path) -> dict[str, Any]:
    return run("collect", "--file", shared_data / "movielog/stream.log", "--store", place / "store")


@pytest.fixture(scope="module")
def imported(run: Marquee, shared_data: Path, place: Path, collected: object) -> dict[str, Any]:
    return run("import-ratings", shared_data / "cinematch/ratings.csv", "--store", place / "store")


@pytest.fixture(scope="module")
def model(run: Marquee, place: Path, imported: object) -> Path:
    run("prepare", "--store", place / "store", "--out", place / "prepared", "--test-share", "0.2")
    train = place / "prepared" / "train"
    tables = ["--ratings", train / "ratings.parquet", "--watches", train / "watches.parquet"]
    run("train", *tables, "--out", place / "model")
    return place / "model"


def test_the_stream_is_counted_as_it_is(collected: dict[str, Any]) -> None:
    counts = {k: collected[k] for k in ("lines", "watches", "ratings", "recommendations")}
    assert counts == {"lines": 50_000, "watches": 49_258, "ratings": 266, "recommendations": 425}
    assert collected["rejected"] == 51 == sum(collected["reasons"].values())
    assert collected["accounts"] == 0
    assert collected["repaired"] > 0


def test_most_ratings_are_taken_and_the_rest_has_a_reason(imported: dict[str, Any]) -> None:
    assert imported["rows"] == 37_984
    assert imported["taken"] + sum(imported["reasons"].values()) == imported["rows"]
    assert imported["taken"] > 37_900


def test_the_model_is_judged_on_newer_ratings(
    run: Marquee, place: Path, model: Path, record_testsuite_property: Callable[[str, object], None]
) -> None:
    test = place / "prepared" / "test" / "ratings.parquet"
    figures = run("evaluate", "--model", model, "--ratings", test, "--k", "10")
    for name in ("rmse", "mae", "ndcg", "recall", "precision", "map", "coverage", "gini"):
        record_testsuite_property(name, figures[name])
    assert figures["rmse"] < 1
    assert 0 < figures["ndcg"] < 1


def test_the_model_is_served(model: Path, place: Path) -> None:
    with serving(model, place) as server:
        answer = server.get("/recommend/42")
        assert answer.status_code == 200
        assert len(answer.text.split(",")) == 20
