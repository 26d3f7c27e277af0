from pathlib import Path

from app.training.params import Params, read_params
from app.training.tuning.params_file import write_params
from app.training.tuning.search import LADDERS, put
from tests.conftest import ROOT

NAMES = tuple(LADDERS)


def changed(start: Params) -> Params:
    params = put(put(start, "als.alpha", 8), "blend.neighbours", 0.8)
    return put(params, "neighbours.window", 12)


def test_found_values_take_the_place_of_old_ones_and_comments_stay(tmp_path: Path) -> None:
    template = (ROOT / "params.yaml").read_text()
    params = changed(read_params(ROOT / "params.yaml"))
    write_params(tmp_path / "p.yaml", template, params, NAMES)
    text = (tmp_path / "p.yaml").read_text()
    assert read_params(tmp_path / "p.yaml") == params
    comments = [line for line in template.splitlines() if line.lstrip().startswith("#")]
    assert [line for line in text.splitlines() if line.lstrip().startswith("#")] == comments
    assert len(text.splitlines()) == len(template.splitlines())


def test_a_comment_at_the_end_of_a_line_stays(tmp_path: Path) -> None:
    write_params(tmp_path / "p", "als:\n  alpha: 2  # why\n", put(Params(), "als.alpha", 8), NAMES)
    assert (tmp_path / "p").read_text() == "als:\n  alpha: 8  # why\n"


def test_what_has_no_line_of_its_own_is_written_out(tmp_path: Path) -> None:
    params = changed(Params())
    for template in ("", "als: {alpha: 1}\n"):
        write_params(tmp_path / "p.yaml", template, params, NAMES)
        assert read_params(tmp_path / "p.yaml") == params
