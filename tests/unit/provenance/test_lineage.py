import json
import re

import pytest
import sqlalchemy as sa
from click.testing import CliRunner, Result

from app.cli import marquee
from app.provenance.instance_info import compress_movie_ids
from app.provenance.lineage import Lineage, restore_command
from app.provenance.tables import build, catalogue, reccom
from tests.conftest import MOVIES
from tests.support.provenance import Environment, encoded, make_record


@pytest.fixture
def filled(environment: Environment) -> Environment:
    writer = environment.writer()
    for number in range(5):
        writer.append(encoded(number))
    writer.append(encoded(5, user_id=7))
    environment.shipper(environment.engine()).ship()
    return environment


def trace(environment: Environment, *arguments: str) -> Result:
    variables = {"MARQUEE_DATABASE": environment.settings.database, "MARQUEE_LOG_LEVEL": "error"}
    return CliRunner().invoke(marquee, ["trace", *arguments], env=variables)


def test_the_last_records_of_a_user_come_newest_first(filled: Environment) -> None:
    found = Lineage(filled.engine()).find_user(42, limit=3)
    assert [record["request_id"] for record in found] == [
        make_record(n).request_id for n in (4, 3, 2)
    ]
    assert found[0]["movie_ids"] == [MOVIES[1], MOVIES[2]]
    assert found[0]["version"]["parameters"] == {"seed": 1}
    assert found[0]["build"]["model_hash"] == filled.lists.manifest.model_hash


def test_a_request_is_found_by_its_id(filled: Environment) -> None:
    (found,) = Lineage(filled.engine()).find_request(make_record(5).request_id)
    assert (found["user_id"], found["slot"], found["duration_us"]) == (7, "stable-1", 80)
    assert found["answered_at"].startswith("2023-11-14T22:13:20.005")


def test_an_unknown_request_is_not_found(filled: Environment) -> None:
    assert Lineage(filled.engine()).find_request("mine") == []
    assert trace(filled, "--request", "mine").exit_code == 1


def test_a_version_is_found_with_its_builds(filled: Environment) -> None:
    found = Lineage(filled.engine()).find_version(3)
    assert found is not None
    assert found["has_records"]
    assert [build["version_number"] for build in found["builds"]] == [3]
    assert Lineage(filled.engine()).find_version(4) is None


def test_json_output_has_one_object_per_line(filled: Environment) -> None:
    result = trace(filled, "--user", "42", "--last", "2", "--json")
    assert result.exit_code == 0
    records = [json.loads(line) for line in result.stdout.splitlines()]
    assert [record["version_number"] for record in records] == [3, 3]


def test_the_printed_record_lists_every_movie(filled: Environment) -> None:
    result = trace(filled, "--user", "7")
    assert re.search(r"^user_id +7$", result.stdout, re.M)
    assert re.search(rf"^ +1  {re.escape(MOVIES[1])}$", result.stdout, re.M)


@pytest.mark.parametrize("arguments", [[], ["--user", "1", "--version", "1"], ["--user", "x"]])
def test_wrong_usage_is_exit_status_2(environment: Environment, arguments: list[str]) -> None:
    assert trace(environment, *arguments).exit_code == 2


def test_a_database_without_tables_is_reported_in_one_line(environment: Environment) -> None:
    result = trace(environment, "--user", "1")
    assert result.exit_code == 1
    assert result.stderr.startswith("Error: database: no such table")


def test_the_restore_command_prefers_the_commit_of_the_build() -> None:
    version = {"version_number": 4, "trained_by_commit": "aaa"}
    built = {"version_number": 4, "git_commit": "bbb"}
    assert restore_command(built, version) == "git checkout bbb && dvc pull"
    assert restore_command(None, None) is None


def test_few_catalogues_are_kept_unpacked(filled: Environment) -> None:
    """Records of many models do not fill the memory of the shipper."""
    engine = filled.engine()
    packed = compress_movie_ids(["a", "b", "c"])
    with engine.begin() as connection:
        for number in range(10):
            connection.execute(
                sa.insert(catalogue).values(
                    model_hash=f"h{number}", movie_count=3, movie_ids=packed
                )
            )
            connection.execute(
                sa.insert(build).values(
                    build_id=f"b{number}", version_number=3, model_hash=f"h{number}",
                    git_commit="c", image_digest="d",
                )
            )  # fmt: skip
            connection.execute(
                sa.update(reccom)
                .where(reccom.c.request_id == make_record(number % 6).request_id)
                .values(build_id=f"b{number}")
            )
    lineage = Lineage(engine)
    for number in range(6):
        (found,) = lineage.find_request(make_record(number).request_id)
        assert found["movie_ids"] == ["b", "c"]
    assert len(lineage._movie_ids) == 4
