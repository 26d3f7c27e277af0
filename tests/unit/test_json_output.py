"""`--json` prints JSON, also where there is nothing to report."""

import json
import subprocess
from pathlib import Path
from typing import Any

import pytest

from app.json_output import print_json
from tests.support.commands import MARQUEE, invoke


def parse(text: bytes) -> Any:
    """Parse JSON as defined: without NaN and infinity."""

    def refuse(name: str) -> None:
        raise AssertionError(name)

    return json.loads(text, parse_constant=refuse)


@pytest.mark.parametrize(
    ("command", "expected"),
    [
        ("enrich", {"status": "disabled"}),
        ("retrain", {"status": "disabled"}),
        ("notify --flush", {"delivered": {}, "pending": {}, "configured": []}),
        ("notify --subject a", {"delivered": {}}),
        ("simulate --days 0.00001", {"versions": {}}),
    ],
)
def test_a_command_with_nothing_to_do_prints_json(
    command: str, expected: dict[str, Any], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    done = invoke(*command.split(), "--json")
    assert done.returncode == 0, done.stderr
    found = parse(done.stdout)
    assert {**found, **expected} == found


def test_an_idle_collector_prints_json_when_it_is_stopped(tmp_path: Path) -> None:
    command = [MARQUEE, "collect", "--json"]
    with subprocess.Popen(
        command, cwd=tmp_path, env={}, stdout=subprocess.PIPE, stderr=subprocess.PIPE
    ) as process:
        assert process.stderr is not None
        assert process.stdout is not None
        assert b"idle: no broker is configured" in process.stderr.readline()
        process.terminate()
        assert parse(process.stdout.read()) == {"status": "disabled"}
        assert process.wait(60) == 0


def test_numbers_that_json_lacks_become_null(capsys: pytest.CaptureFixture[str]) -> None:
    print_json({"a": [float("nan"), 1.5], "b": {"c": float("-inf")}, "d": (1, None)})
    assert parse(capsys.readouterr().out.encode()) == {
        "a": [None, 1.5], "b": {"c": None}, "d": [1, None],
    }  # fmt: skip


def test_versions_without_a_movie_in_common_are_compared_in_json(
    shared_model: Path, tmp_path: Path
) -> None:
    import polars as pl  # noqa: PLC0415 - the other tests need no table

    watches = tmp_path / "watches.parquet"
    pl.DataFrame({"user_id": [1], "movie_id": ["none+1999"]}).write_parquet(watches)
    models = [shared_model, shared_model]
    done = invoke("compare-versions", "--json", "--watches", watches, "--users", 2, *models)
    assert done.returncode == 0, done.stderr
    assert parse(done.stdout)["versions"][0]["listed"] is None
