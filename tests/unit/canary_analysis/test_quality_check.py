"""The online quality in `marquee analyze`: worse aborts, undecided changes nothing."""

import json
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner

from app.cli import marquee
from tests.support.canary_samples import encode, make_lines


def write_quality(
    path: Path, difference: float, error: float | None, skewness: float = 0.0, **changes: Any
) -> Path:
    """What `marquee quality --json` prints of 20,000 answers of the canary, with a loss."""
    takes = {
        "candidate": 0.1 + difference,
        "production": 0.1,
        "difference": difference,
        "standard_error": error,
        "candidate_answers": 20_000,
        "users": 9000,
        "skewness": skewness,
    }
    versions = {"candidate": {"takes": 2000}, "production": {"takes": 8000}}
    content = {"candidate": 7, "horizons": {"1h": {"takes": takes, "versions": versions}}}
    path.write_text(json.dumps(content | changes))
    return path


def run(*arguments: object, lines: int = 100, status: int = 0) -> dict[str, Any]:
    result = CliRunner().invoke(
        marquee,
        ["analyze", "--samples", "-", *map(str, arguments)],
        input=encode(make_lines(lines)),
    )
    assert result.exit_code == status, result.output
    content: dict[str, Any] = json.loads(result.stdout) if status == 0 else {"error": result.output}
    return content


@pytest.mark.parametrize(
    ("difference", "error", "outcome", "verdict"),
    [
        (0.0, 0.001, "passed", "PROMOTE"),
        (-0.01, 0.003, "failed", "ABORT"),
        (-0.003, 0.003, "undecided", "PROMOTE"),
        (0.0, None, "undecided", "PROMOTE"),
    ],
)
def test_a_canary_that_is_worse_for_users_alone_is_aborted(
    tmp_path: Path, difference: float, error: float | None, outcome: str, verdict: str
) -> None:
    file = write_quality(tmp_path / "quality.json", difference, error)
    result = run("--quality", file)
    check = result["checks"][-1]
    assert (check["name"], check["outcome"], result["verdict"]) == ("quality", outcome, verdict)
    assert (check["sentence"] == result["reason"]) == (verdict == "ABORT")
    assert {frozenset(other) for other in result["checks"]} == {frozenset(check)}


def test_quality_that_passes_promotes_no_canary_that_is_undecided(tmp_path: Path) -> None:
    file = write_quality(tmp_path / "quality.json", 0.02, 0.001)
    assert run("--quality", file, lines=10)["verdict"] == "INCONCLUSIVE"


def test_the_quality_is_judged_at_the_deadline_only(tmp_path: Path) -> None:
    file = write_quality(tmp_path / "quality.json", -0.05, 0.001)
    result = run("--quality", file, "--window", 101)
    assert result["verdict"] == "CONTINUE"
    assert "quality" not in {check["name"] for check in result["checks"]}


def test_an_undecided_quality_says_how_many_answers_are_needed(tmp_path: Path) -> None:
    file = write_quality(tmp_path / "quality.json", 0.0, 0.003)
    check = run("--quality", file)["checks"][-1]
    # (2.409 + 0.842) standard errors are 1.95 times the margin of 0.005.
    assert check["needed"] == pytest.approx(20_000 * (1.9504**2 - 1), rel=0.01)
    assert f"about {check['needed']:,} more answers" in check["sentence"]


def test_margins_can_be_set_and_a_release_is_judged_again(tmp_path: Path) -> None:
    file = write_quality(tmp_path / "quality.json", -0.01, 0.003)
    state = tmp_path / "state"
    margins = ("--set", "quality_margin=0.3")
    first = run("--quality", file, "--state", state, *margins)
    assert first["verdict"] == "PROMOTE"

    def replay(*settings: str) -> Any:
        arguments = ["analyze", "--replay", str(state), *settings]
        return json.loads(CliRunner().invoke(marquee, arguments).stdout)

    assert replay() == first
    assert replay("--set", "quality_margin=0.05")["verdict"] == "ABORT"


@pytest.mark.parametrize(("skewness", "outcome"), [(0.0, "failed"), (0.4, "undecided")])
def test_bounds_follow_the_skewness(tmp_path: Path, skewness: float, outcome: str) -> None:
    """2.5 standard errors below 0: with a long tail above, 0 is not beyond the bound."""
    file = write_quality(tmp_path / "quality.json", -0.0075, 0.003, skewness)
    state = tmp_path / "state"
    check = run("--quality", file, "--state", state)["checks"][-1]
    assert check["outcome"] == outcome
    arguments = ["analyze", "--replay", str(state)]
    again = json.loads(CliRunner().invoke(marquee, arguments).stdout)["checks"][-1]
    assert again == check


def test_a_result_without_the_skewness_has_normal_bounds(tmp_path: Path) -> None:
    file = write_quality(tmp_path / "quality.json", -0.0075, 0.003)
    content = json.loads(file.read_text())
    del content["horizons"]["1h"]["takes"]["skewness"]
    file.write_text(json.dumps(content))
    low, high = run("--quality", file)["checks"][-1]["interval"]
    assert high - -0.0075 == pytest.approx(-0.0075 - low) == pytest.approx(2.4089 * 0.003, rel=1e-4)


def test_the_quality_of_another_version_and_other_files_are_refused(tmp_path: Path) -> None:
    file = write_quality(tmp_path / "quality.json", 0, 0.001, candidate=8)
    assert (
        "is that of version 8, not 7" in run("--quality", file, "--version", 7, status=2)["error"]
    )
    for content in ("", "[]", '{"candidate": 7}'):
        file.write_text(content)
        assert "quality" in run("--quality", file, status=2)["error"]
