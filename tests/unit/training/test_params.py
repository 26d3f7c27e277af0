from pathlib import Path

import pytest
import yaml

from app.training.errors import TrainingError
from app.training.params import Params, read_params
from tests.conftest import ROOT


def test_the_file_at_the_root_holds_every_parameter_and_no_other() -> None:
    path = ROOT / "params.yaml"
    read_params(path)
    content = yaml.safe_load(path.read_text())
    for name in ("checks", "gate"):  # tests/unit/auto_deployment/test_retraining_policy.py
        content.pop(name)
    expected = Params().model_dump()
    assert set(content) == set(expected)
    for name, section in expected.items():
        if isinstance(section, dict):
            assert set(content[name]) == set(section)


def test_an_empty_file_means_the_defaults(tmp_path: Path) -> None:
    (tmp_path / "p.yaml").write_text("# nothing\n")
    assert read_params(tmp_path / "p.yaml") == Params()


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ("als: {factor: 3}", "unknown key als.factor"),
        ("alz: 3", "unknown key alz"),
        ("als: {factors: 0}", "als.factors"),
        ("blend: {als: -1}", "blend.als"),
        ("blend: {als: .nan}", "blend.als"),
        ("popularity: {half_life_days: .inf}", "popularity.half_life_days"),
        ("seed: -1", "seed"),
        ("- a list", "content"),
        ("a: [", "not YAML"),
        ("!!python/object:os.system {}", "not YAML"),
    ],
)
def test_what_makes_no_sense_is_refused_by_name(tmp_path: Path, content: str, message: str) -> None:
    (tmp_path / "p.yaml").write_text(content)
    with pytest.raises(TrainingError, match=message):
        read_params(tmp_path / "p.yaml")


def test_a_missing_file_is_refused(tmp_path: Path) -> None:
    with pytest.raises(TrainingError, match="cannot be read"):
        read_params(tmp_path / "none.yaml")
