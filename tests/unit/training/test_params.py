import shutil
from pathlib import Path

import pytest
from pydantic import ValidationError

from app.training.errors import TrainingError
from app.training.params import Params, read_params, replace_params, update_params_file
from app.training.tuning.search import SPACE
from tests.conftest import ROOT
from tests.support.params import make_params, write_params

FILE = ROOT / "params.yaml"


def test_no_parameter_has_a_default_beside_the_file() -> None:
    sections = [field.annotation for field in Params.model_fields.values()]
    fields = [*Params.model_fields.values()]
    fields += [f for s in sections for f in getattr(s, "model_fields", {}).values()]
    assert len(fields) > 30
    assert all(field.is_required() for field in fields)
    read_params(FILE)


@pytest.mark.parametrize(
    ("line", "message"),
    [
        ("  alpha: 2\n", "no value for als.alpha"),
        ("seed: 0\n", "no value for seed"),
    ],
)
def test_a_missing_parameter_is_an_error(tmp_path: Path, line: str, message: str) -> None:
    text = FILE.read_text()
    assert text.count(line) == 1
    (tmp_path / "p.yaml").write_text(text.replace(line, ""))
    with pytest.raises(TrainingError, match=message):
        read_params(tmp_path / "p.yaml")


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
        ("", "no value for seed"),
        ("- a list", "content"),
        ("a: [", "not YAML"),
        ("!!python/object:os.system {}", "not YAML"),
        ("seed: 1\nseed: 2", "not YAML"),
    ],
)
def test_invalid_content_is_an_error_that_names_the_key(
    tmp_path: Path, content: str, message: str
) -> None:
    (tmp_path / "p.yaml").write_text(content)
    with pytest.raises(TrainingError, match=message):
        read_params(tmp_path / "p.yaml")


def test_a_missing_file_is_an_error(tmp_path: Path) -> None:
    with pytest.raises(TrainingError, match="cannot be read"):
        read_params(tmp_path / "none.yaml")


def test_a_replaced_value_is_validated_and_keeps_its_type() -> None:
    changed = replace_params(make_params(), {"als.factors": 96, "blend.ease": 0.25})
    assert (changed.als.factors, changed.blend.ease) == (96, 0.25)
    assert isinstance(changed.als.factors, int)
    with pytest.raises(ValidationError):
        replace_params(changed, {"als.factors": 0})


def test_an_updated_file_keeps_its_comments_lines_and_other_sections(tmp_path: Path) -> None:
    values = {"als.alpha": 8, "blend.transitions": 0.83, "transitions.window": 12}
    params = replace_params(read_params(FILE), values)
    target = tmp_path / "p.yaml"
    shutil.copy(FILE, target)
    update_params_file(target, target, params, tuple(SPACE))
    assert read_params(target) == params
    before, after = FILE.read_text().splitlines(), target.read_text().splitlines()
    assert len(before) == len(after)
    changed = [(old, new) for old, new in zip(before, after, strict=True) if old != new]
    assert [new for _, new in changed] == ["  alpha: 8.0", "  window: 12", "  transitions: 0.83"]


def test_an_updated_file_keeps_comments_at_the_end_of_a_line(tmp_path: Path) -> None:
    template = write_params(tmp_path / "old.yaml")
    template.write_text(template.read_text().replace("window: 8\n", "window: 8 # steps\n"))
    params = replace_params(read_params(template), {"transitions.window": 3})
    update_params_file(template, tmp_path / "new.yaml", params, ["transitions.window"])
    assert "  window: 3 # steps\n" in (tmp_path / "new.yaml").read_text()
    assert "  window: 8 # steps\n" in template.read_text()
