"""Parameters of earlier commits are understood; those of a later format are refused."""

import json
from pathlib import Path

import pytest
from ruamel.yaml import YAML

from app.auto_deployment.errors import DeploymentError
from app.auto_deployment.retraining_policy import read_limits
from app.params_file import PARAMS_FORMAT
from app.training.errors import TrainingError
from app.training.params import read_params, update_params_file
from tests.conftest import ROOT

FORMATS = ROOT / "tests" / "formats"
OLD = FORMATS / "0.2.0" / "params.yaml"


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "params.yaml"


def test_the_parameters_of_version_0_2_0_are_read_with_their_values() -> None:
    params = read_params(OLD)
    assert params == read_params(FORMATS / "3412c7b" / "params.yaml")
    manifest = FORMATS / "0.2.0" / "model" / "lists" / "manifest.json"
    trained = json.loads(manifest.read_bytes())["parameters"]
    assert params.svd.model_dump(exclude={"max_ratings"}) == trained["ratings"]
    assert params.blend.cold_start == trained["blend"]["newcomer"]
    assert read_limits(OLD) == read_limits(ROOT / "params.yaml")


def test_a_missing_key_has_the_value_that_version_0_2_0_took_for_it(path: Path) -> None:
    path.write_text("ratings: {factors: 7}\nblend: {newcomer: 3}\nals: {alpha: 5}\n")
    params = read_params(path)
    assert (params.svd.factors, params.svd.epochs) == (7, 30)
    assert (params.blend.cold_start, params.blend.transitions) == (3, 0.3)
    assert (params.als.alpha, params.als.factors, params.recency.ease_share) == (5, 64, 0.2)
    path.write_text("recency: {ease: 0.1}\n")
    assert read_params(path).recency.ease_share == 0.1


def test_a_file_without_the_section_of_recent_events_is_read(path: Path) -> None:
    content = YAML(typ="safe").load(ROOT / "params.yaml")
    content.pop("recent")
    path.write_text(json.dumps(content))
    assert read_params(path).recent.max_movies == 16


def test_a_file_of_before_users_and_ratings_were_limited_has_no_limit(path: Path) -> None:
    content = YAML(typ="safe").load(ROOT / "params.yaml")
    content["svd"].pop("max_ratings")
    content["lists"].pop("active_days")
    path.write_text(json.dumps(content))
    params = read_params(path)
    assert params.svd.max_ratings > 10**15
    assert params.lists.active_days == "all"


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ("ratings: {factor: 3}", "unknown key svd.factor"),
        ("neighbours: 3", "transitions"),
        ("ratings: {}\nsvd: {}", "unknown key ratings"),
        ("events: {full_minutes: 0}", "confidence.full_minutes"),
    ],
)
def test_other_names_and_values_of_version_0_2_0_are_errors(
    path: Path, content: str, message: str
) -> None:
    path.write_text(content)
    with pytest.raises(TrainingError, match=message):
        read_params(path)


def test_the_file_has_the_number_of_its_format() -> None:
    assert YAML(typ="safe").load(ROOT / "params.yaml")["format"] == PARAMS_FORMAT


def test_a_file_of_a_later_format_is_refused_in_a_sentence(path: Path) -> None:
    path.write_text((ROOT / "params.yaml").read_text().replace("format: 1", "format: 2"))
    with pytest.raises(TrainingError, match=r"params\.yaml: format 2; this program reads format 1"):
        read_params(path)
    with pytest.raises(DeploymentError, match="format 2; this program reads format 1"):
        read_limits(path)


def test_the_file_of_version_0_2_0_is_no_template_of_new_parameters(path: Path) -> None:
    with pytest.raises(TrainingError, match=r"has no lists\.block_size: it is of version 0\.2\.0"):
        update_params_file(OLD, path, read_params(OLD), ["als.factors", "lists.block_size"])
    assert not path.exists()
