"""Real input: collect a log, import ratings, train, evaluate and serve. Metrics are recorded."""

import json
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from tests.conftest import ROOT
from tests.support.params import write_params
from tests.support.service import serving

Marquee = Callable[..., dict[str, Any]]


@pytest.fixture(scope="module")
def work_dir(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("train_and_serve")


@pytest.fixture(scope="module")
def run() -> Marquee:
    def run(*arguments: object) -> dict[str, Any]:
        process = subprocess.run(
            [sys.executable, "-m", "app", *map(str, arguments), "--json"],
            cwd=ROOT, capture_output=True, text=True, timeout=280, check=False,
        )  # fmt: skip
        assert process.returncode == 0, process.stderr
        result: dict[str, Any] = json.loads(process.stdout)
        return result

    return run


@pytest.fixture(scope="module")
def collected(run: Marquee, shared_data: Path, work_dir: Path) -> dict[str, Any]:
    return run(
        "collect", "--file", shared_data / "movielog/stream.log", "--store", work_dir / "store"
    )


@pytest.fixture(scope="module")
def imported(run: Marquee, shared_data: Path, work_dir: Path, collected: object) -> dict[str, Any]:
    return run(
        "import-ratings", shared_data / "cinematch/ratings.csv", "--store", work_dir / "store"
    )


@pytest.fixture(scope="module")
def model(run: Marquee, work_dir: Path, imported: object) -> Path:
    run(
        "prepare",
        "--store",
        work_dir / "store",
        "--out",
        work_dir / "prepared",
        "--test-share",
        "0.2",
    )
    train = work_dir / "prepared" / "train"
    tables = ["--ratings", train / "ratings.parquet", "--watches", train / "watches.parquet"]
    # Weights between fewer movies: fitting them takes most of the time.
    params = write_params(work_dir / "params.yaml", ease={"max_movies": 500}, als={"factors": 16})
    run("train", *tables, "--out", work_dir / "model", "--params", params)
    return work_dir / "model"


def test_every_line_of_the_log_is_counted(collected: dict[str, Any]) -> None:
    counts = {k: collected[k] for k in ("lines", "watches", "ratings", "recommendations")}
    assert counts == {"lines": 50_000, "watches": 49_258, "ratings": 266, "recommendations": 425}
    assert collected["rejected"] == 51 == sum(collected["reasons"].values())
    assert collected["accounts"] == 0
    assert collected["repaired"] > 0


def test_ratings_are_imported_or_rejected_with_a_reason(imported: dict[str, Any]) -> None:
    assert imported["rows"] == 37_984
    assert imported["accepted"] + sum(imported["reasons"].values()) == imported["rows"]
    assert imported["accepted"] > 37_900


def test_the_model_is_evaluated_on_newer_ratings(
    run: Marquee,
    work_dir: Path,
    model: Path,
    record_property: Callable[[str, object], None],
) -> None:
    test = work_dir / "prepared" / "test" / "ratings.parquet"
    metrics = run("evaluate", "--model", model, "--ratings", test, "--k", "10")
    for name in ("rmse", "mae", "ndcg", "recall", "precision", "map", "coverage", "gini"):
        record_property(name, metrics[name])
    assert metrics["rmse"] < 1
    assert 0 < metrics["ndcg"] < 1


def test_the_model_is_served(model: Path, work_dir: Path) -> None:
    with serving(model, work_dir) as server:
        response = server.get("/recommend/42")
        assert response.status_code == 200
        assert len(response.text.split(",")) == 20
