"""`marquee analyze`: input, output, exit status, state."""

import json
import resource
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner

from app.canary_analysis.errors import AnalysisInputError
from app.canary_analysis.limits import parse_limits
from app.cli import marquee
from tests.support.canary_samples import encode, make_lines


def run(*arguments: str, text: bytes = b"", status: int = 0) -> dict[str, Any]:
    done = CliRunner().invoke(marquee, ["analyze", *arguments], input=text)
    assert done.exit_code == status, done.output
    if status:
        return {"error": done.stderr}
    result = json.loads(done.stdout)
    assert isinstance(result, dict)
    return result


def test_samples_come_from_a_file_or_standard_input(tmp_path: Path) -> None:
    text = encode(make_lines(100))
    path = tmp_path / "samples.jsonl"
    path.write_bytes(text)
    from_file = run("--samples", str(path))
    assert from_file == run("--samples", "-", text=text)
    assert from_file["verdict"] == "PROMOTE"
    assert set(from_file) == {"verdict", "minute", "reason", "checks"}


@pytest.mark.parametrize(
    ("arguments", "text"),
    [
        (("--samples", "-"), b"nonsense"),
        (("--samples", "-", "--set", "no_such=1"), b""),
        (("--samples", "-", "--window", "0"), b""),
        ((), b""),
        (("--samples", "-", "--replay", "x"), b""),
        (("--replay", "no-such-release"), b""),
        (("--prometheus", "http://127.0.0.1:1"), b""),
    ],
)
def test_wrong_input_is_exit_status_2(arguments: tuple[str, ...], text: bytes) -> None:
    assert "Error" in run(*arguments, text=text, status=2)["error"]


@pytest.mark.parametrize("verdict", ["PROMOTE", "ABORT", "INCONCLUSIVE"])
def test_every_verdict_is_exit_status_0(verdict: str) -> None:
    lines = {
        "PROMOTE": make_lines(100),
        "ABORT": make_lines(100, lambda minute: {"failures": 20}),
        "INCONCLUSIVE": [],
    }[verdict]
    assert run("--samples", "-", text=encode(lines))["verdict"] == verdict


def test_the_window_sets_the_deadline() -> None:
    text = encode(make_lines(100))
    assert run("--samples", "-", "--window", "101", text=text)["verdict"] == "CONTINUE"
    shorter = run("--samples", "-", "--window", "90", text=text)
    assert (shorter["verdict"], shorter["minute"]) == ("PROMOTE", 89)


def test_a_restart_between_two_looks_changes_nothing(tmp_path: Path) -> None:
    lines = make_lines(200, lambda minute: {"failures": int(minute % 3 == 0)})
    looks = [
        run(
            *("--samples", "-", "--window", "720", "--state", str(tmp_path / "state")),
            text=encode(line for line in lines if minute - 10 <= line["minute"] < minute),
        )
        for minute in range(10, 201, 10)
    ]
    at_once = run("--samples", "-", "--window", "720", text=encode(lines))
    aborted = next(look for look in looks if look["verdict"] == "ABORT")
    assert at_once == aborted
    assert looks[-1] == aborted


def test_the_unfinished_line_of_a_killed_process_is_left_out(tmp_path: Path) -> None:
    text = encode(make_lines(50))
    arguments = ("--samples", "-", "--state", str(tmp_path))
    run(*arguments, text=text)
    with (tmp_path / "samples.jsonl").open("ab") as file:
        file.write(b'{"minute": 50, "slot": "can')
    assert run(*arguments, text=encode(make_lines(51)))["minute"] == 50
    assert run(*arguments)["minute"] == 50


def test_a_past_release_is_judged_again_with_other_settings(tmp_path: Path) -> None:
    text = encode(make_lines(100, lambda minute: {"failures": 2 * (minute % 2)}))
    first = run("--samples", "-", "--state", str(tmp_path), text=text)
    assert first["verdict"] == "ABORT"
    settings = ("failure_margin=0.1", "failure_tolerance=0.05", "min_success_ratio=0.9")
    again = run("--replay", str(tmp_path), *(x for s in settings for x in ("--set", s)))
    assert again["verdict"] == "PROMOTE"
    assert run("--replay", str(tmp_path)) == first


def test_prometheus_that_does_not_respond_is_no_verdict(tmp_path: Path) -> None:
    arguments = ("--prometheus", "http://127.0.0.1:1", "--version", "7", "--start", "1000")
    over = run(*arguments, "--now", "10000", "--window", "60")
    assert (over["verdict"], over["query_failed"]) == ("INCONCLUSIVE", True)
    assert "did not respond" in over["reason"]
    early = run(*arguments, "--now", "2000", "--window", "60")
    assert early["verdict"] == "CONTINUE"


def test_a_replay_uses_the_settings_of_the_release(tmp_path: Path) -> None:
    text = encode(make_lines(100))
    arguments = ("--set", "min_requests=4801", "--mean-seconds", "0.01")
    first = run("--samples", "-", "--state", str(tmp_path), *arguments, text=text)
    assert first["verdict"] == "INCONCLUSIVE"
    assert run("--replay", str(tmp_path)) == first
    assert run("--replay", str(tmp_path), "--set", "min_requests=4800")["verdict"] == "PROMOTE"


@pytest.mark.parametrize(
    ("mean", "verdict", "outcome"),
    [
        ("0.499", "PROMOTE", "passed"),
        ("0.5", "ABORT", "failed"),
        ("nan", "INCONCLUSIVE", "undecided"),
    ],
)
def test_the_mean_that_prometheus_has_computed_is_the_first_check(
    mean: str, verdict: str, outcome: str
) -> None:
    text = encode(make_lines(100))
    result = run("--samples", "-", "--mean-seconds", mean, text=text)
    first = result["checks"][0]
    assert (result["verdict"], first["name"]) == (verdict, "prometheus_mean_seconds")
    assert first["outcome"] == outcome
    assert (first["sentence"] in result["reason"]) == (verdict != "PROMOTE")
    few = run("--samples", "-", "--mean-seconds", "0.7", text=encode(make_lines(10)))
    assert few["verdict"] == "INCONCLUSIVE"
    before = run("--samples", "-", "--window", "101", "--mean-seconds", mean, text=text)
    assert before["verdict"] == "CONTINUE"


@pytest.mark.parametrize("mean", ["0.01", "nan"])
def test_all_checks_have_the_same_keys(mean: str) -> None:
    result = run("--samples", "-", "--mean-seconds", mean, text=encode(make_lines(100)))
    assert len({frozenset(check) for check in result["checks"]}) == 1


def test_a_state_that_cannot_be_written_does_not_end_the_analysis(tmp_path: Path) -> None:
    arguments = ("--prometheus", "http://127.0.0.1:1", "--version", "7", "--start", "1000")
    before = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (0, before[1]))
    try:
        result = run(*arguments, "--now", "2000", "--window", "60", "--state", str(tmp_path))
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, before)
    assert result["verdict"] == "CONTINUE"
    assert result["notes"] == ["the state could not be written: File too large"]


@pytest.mark.parametrize("changed", [("--start", "1001"), ("--minute-seconds", "30")])
def test_a_state_of_other_minutes_is_refused(tmp_path: Path, changed: tuple[str, ...]) -> None:
    arguments = ["--prometheus", "http://127.0.0.1:1", "--version", "7", "--now", "2000"]
    arguments += ["--start", "1000", "--window", "60", "--state", str(tmp_path)]
    assert run(*arguments) == run(*arguments)
    assert "belongs to an analysis with" in run(*arguments, *changed, status=2)["error"]


def test_minutes_may_be_shorter() -> None:
    arguments = ["--prometheus", "http://127.0.0.1:1", "--version", "7", "--start", "1000"]
    arguments += ["--window", "12", "--minute-seconds", "5", "--scrape-interval", "1"]
    assert run(*arguments, "--now", "1060.9")["verdict"] == "CONTINUE"
    assert run(*arguments, "--now", "1061")["verdict"] == "INCONCLUSIVE"


@pytest.mark.parametrize(
    "setting",
    ["failure_margin=x", "failure_margin=-1", "failure_margin=0.0001", "min_requests=1.5", "x"],
)
def test_wrong_settings_are_refused(setting: str) -> None:
    with pytest.raises(AnalysisInputError):
        parse_limits([setting])
