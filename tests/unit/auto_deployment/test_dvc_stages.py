"""`dvc.yaml` names every parameter and source that its stages depend on."""

from typing import Any

import grimp
import pytest
from ruamel.yaml import YAML

from app.auto_deployment.retraining_policy import Limits
from app.ingest.data_window import DataWindow
from app.training.params import Params
from tests.conftest import ROOT

STAGES: dict[str, Any] = YAML(typ="safe", pure=True).load(ROOT / "dvc.yaml")["stages"]


def read_parameters(stage: str, file: str) -> set[str]:
    """Return the keys of a parameter file that a stage depends on."""
    parameters: set[str] = set()
    for entry in STAGES[stage]["params"]:
        if isinstance(entry, dict):
            parameters.update(entry.get(file, []))
        elif file == "params.yaml":
            parameters.add(entry)
    return parameters


def test_the_training_stages_depend_on_every_parameter_of_the_model() -> None:
    for stage in ("fit-validation", "train"):
        assert read_parameters(stage, "params.yaml") == set(Params.model_fields), stage


def test_the_data_stages_depend_on_the_whole_data_window_and_on_the_checks() -> None:
    prepared = read_parameters("prepare", "data/window.json")
    checked = read_parameters("test-data", "data/window.json")
    assert prepared | checked == set(DataWindow.model_fields)
    assert read_parameters("test-data", "params.yaml") == set(Limits.model_fields) - {"gate"}


def test_every_source_that_a_stage_depends_on_exists() -> None:
    sources = [path for stage in STAGES.values() for path in stage["deps"] if path[:4] == "app/"]
    assert [path for path in sources if not (ROOT / path).exists()] == []


@pytest.mark.parametrize(
    ("stage", "modules"),
    [
        ("prepare", ["app.ingest.prepare"]),
        (
            "test-data",
            ["app.auto_deployment.data_validation", "app.auto_deployment.retraining_policy"],
        ),
        ("fit-validation", ["app.training.pipeline", "app.training.params"]),
        ("evaluate", ["app.training.evaluate", "app.training.load"]),
        ("fairness", ["app.fairness.report", "app.fairness.page", "app.fairness.params"]),
        ("train", ["app.training.pipeline", "app.training.params"]),
        ("explain-ranking", ["app.fairness.ranking_page"]),
    ],
)
def test_a_stage_depends_on_every_package_that_its_command_imports(
    stage: str, modules: list[str]
) -> None:
    """The modules of `app` itself (logs, settings, locks, …) shape no data and no model."""
    graph = grimp.build_graph("app", cache_dir=None)
    imported = {*modules}.union(*(graph.find_upstream_modules(module) for module in modules))
    paths = {name.replace(".", "/") for name in imported if name.count(".") > 1}
    deps = [dep.removesuffix(".py") for dep in STAGES[stage]["deps"] if dep.startswith("app/")]
    errors = {"app/auto_deployment/errors"}  # only raised
    missing = {path for path in paths - errors if not path.startswith(tuple(deps))}
    assert missing == set()
