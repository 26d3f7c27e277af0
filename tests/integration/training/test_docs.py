"""docs/model.md describes every array of the factors and every metric of an evaluation."""

import json
from pathlib import Path

from app.model.artifact import open_artifact
from tests.conftest import ROOT
from tests.integration.training.conftest import Tables, run

PAGE = (ROOT / "docs" / "model.md").read_text(encoding="utf-8")


def test_every_array_of_the_factors_is_described(trained: Path) -> None:
    arrays = open_artifact(trained / "factors", "factors").arrays
    assert [name for name in arrays if f"`{name}`" not in PAGE] == []


def test_every_metric_of_an_evaluation_is_defined(trained: Path, tables: Tables) -> None:
    command = ["evaluate", "--model", trained, "--ratings", tables.later_ratings, "--json"]
    metrics = set(json.loads(run(*command)[1])) - {"k"}
    assert [name for name in sorted(metrics) if f"`{name}`" not in PAGE] == []
