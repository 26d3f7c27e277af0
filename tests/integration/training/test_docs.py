"""docs/model.md names every array of the factors and every figure of an evaluation."""

import json
from pathlib import Path

from app.model.artifact import open_artifact
from tests.conftest import ROOT
from tests.integration.training.conftest import World, run

PAGE = (ROOT / "docs" / "model.md").read_text(encoding="utf-8")


def test_every_array_of_the_factors_is_described(trained: Path) -> None:
    arrays = open_artifact(trained / "factors", "factors").arrays
    assert [name for name in arrays if f"`{name}`" not in PAGE] == []


def test_every_figure_of_an_evaluation_is_defined(trained: Path, world: World) -> None:
    command = ["evaluate", "--model", trained, "--ratings", world.later_ratings, "--json"]
    figures = set(json.loads(run(*command)[1])) - {"k"}
    assert [name for name in sorted(figures) if f"`{name}`" not in PAGE] == []
