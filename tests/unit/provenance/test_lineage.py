import json
import re
from pathlib import Path

import pytest
from click.testing import CliRunner, Result

from app.cli import marquee
from app.provenance.lineage import Tracer, restore_command
from app.provenance.record_format import answer_frame
from tests.conftest import MOVIES
from tests.unit.provenance.conftest import Place, answered


@pytest.fixture
def filled(place: Place) -> Place:
    recorder = place.recorder()
    for number in range(5):
        recorder.append(answer_frame(*answered(number)))
    recorder.append(answer_frame(*answered(5, user_id=7)))
    place.shipper(place.engine()).ship()
    return place


def run(place: Place, *arguments: str) -> Result:
    environment = {"MARQUEE_DATABASE": place.settings.database, "MARQUEE_LOG_LEVEL": "error"}
    return CliRunner().invoke(marquee, ["trace", *arguments], env=environment)


def test_a_users_last_answers_come_newest_first(filled: Place) -> None:
    found = Tracer(filled.engine()).user(42, last=3)
    assert [one["request_id"] for one in found] == [answered(n).request_id for n in (4, 3, 2)]
    assert found[0]["movie_ids"] == [MOVIES[1], MOVIES[2]]
    assert found[0]["made_from"]["parameters"] == {"seed": 1}
    assert found[0]["build"]["model_hash"] == filled.lists.manifest.model_hash


def test_one_request_is_found_by_its_id(filled: Place) -> None:
    (found,) = Tracer(filled.engine()).request(answered(5).request_id)
    assert (found["user_id"], found["slot"], found["took_ms"]) == (7, "stable-1", 0.08)
    assert found["time"].startswith("2023-11-14T22:13:20.005")


def test_a_request_nobody_made_is_not_found(filled: Place) -> None:
    assert Tracer(filled.engine()).request("mine") == []
    assert run(filled, "--request", "mine").exit_code == 1


def test_a_version_tells_its_builds(filled: Place) -> None:
    found = Tracer(filled.engine()).version(3)
    assert found is not None
    assert found["answered"]
    assert [one["version_number"] for one in found["builds"]] == [3]
    assert Tracer(filled.engine()).version(4) is None


def test_json_holds_one_object_a_line(filled: Place) -> None:
    result = run(filled, "--user", "42", "--last", "2", "--json")
    assert result.exit_code == 0
    records = [json.loads(line) for line in result.stdout.splitlines()]
    assert [record["version_number"] for record in records] == [3, 3]


def test_the_table_for_people_names_every_movie(filled: Place) -> None:
    result = run(filled, "--user", "7")
    assert re.search(r"^user_id +7$", result.stdout, re.M)
    assert re.search(rf"^ +1  {re.escape(MOVIES[1])}$", result.stdout, re.M)


@pytest.mark.parametrize("arguments", [[], ["--user", "1", "--version", "1"], ["--user", "x"]])
def test_wrong_usage_is_exit_status_2(place: Place, arguments: list[str]) -> None:
    assert run(place, *arguments).exit_code == 2


def test_a_database_without_tables_is_one_clear_line(place: Place, tmp_path: Path) -> None:
    result = run(place, "--user", "1")
    assert result.exit_code == 1
    assert "no such table" in result.stderr


def test_what_restores_names_the_builds_commit_first() -> None:
    made_from = {"trained_by_commit": "aaa"}
    assert restore_command({"git_commit": "bbb"}, made_from) == "git checkout bbb && dvc pull"
    assert restore_command({"git_commit": "unknown"}, made_from) == "git checkout aaa && dvc pull"
    assert restore_command(None, None) is None
