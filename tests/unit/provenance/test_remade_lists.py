"""Every answered list can be made again from its record, with the model that made it."""

import json
import random
from contextlib import closing
from math import isnan
from pathlib import Path
from typing import Any

import pytest
import sqlalchemy as sa
from click.testing import CliRunner, Result
from flask import Flask

from app.cli import marquee
from app.provenance.database import connect, upgrade
from app.provenance.lineage import Lineage
from app.provenance.list_remaker import ListRemaker
from app.provenance.shipper import Shipper
from app.provenance.shipper_metrics import ShipperMetrics
from app.provenance.spool_reader import SpoolReader
from app.provenance.tables import reccom
from app.service.application import create_app
from app.settings import Settings
from tests.conftest import MOVIES, USERS, write_lists
from tests.support.recent import NEWEST_SECONDS, add_recent_parts
from tests.support.recent_activity import NAN, make_table, watched
from tests.support.soak import IS_SOAK

ANSWERS = 10_000 if IS_SOAK else 300
NOW = int(NEWEST_SECONDS) + 86_400
#: Users with a list, a user of a segment, and unknown ones.
KNOWN = [*USERS, 500, *range(5000, 5040)]


@pytest.fixture(scope="module")
def model(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return add_recent_parts(write_lists(tmp_path_factory.mktemp("remade") / "model"))


@pytest.fixture
def settings(tmp_path: Path, model: Path) -> Settings:
    return Settings(
        model_dir=model,
        recent_dir=tmp_path / "recent",
        spool_dir=tmp_path / "spool",
        database=f"sqlite:///{tmp_path}/provenance.db",
        log_level="error",
    )


def ship(settings: Settings) -> sa.Engine:
    engine = connect(settings)
    upgrade(engine)
    reader = SpoolReader(settings.spool_dir)
    Shipper(reader, engine, ShipperMetrics(reader), 36_500).ship()
    return engine


def fill_recent_activity(directory: Path, rng: random.Random) -> None:
    """Add up to 16 movies for most users, older and newer than the model's data, rated or not."""
    with closing(make_table(directory, movies=16, max_users=1000)) as table:
        for user in KNOWN[::2]:
            for movie in rng.sample([*MOVIES, "unknown+movie+1999"], rng.randint(1, 16)):
                rating = rng.choice([NAN, 1, 3, 5])
                minutes = rng.randint(1, 200) if isnan(rating) else rng.randint(0, 200)
                time = NOW - rng.randint(0, 150_000)
                number = table.number_movie(movie)
                table.add(user, [watched(number, minutes, time, rating)])
        table.advance_time(NOW)
        table.commit()


def answer(app: Flask, user: int) -> tuple[str, str, str]:
    response = app.test_client().get(f"/recommend/{user}")
    headers = response.headers
    return headers["X-Request-Id"], headers["X-Recommendation-Source"], response.text


def trace(settings: Settings, *arguments: object) -> Result:
    variables = {"MARQUEE_DATABASE": settings.database, "MARQUEE_LOG_LEVEL": "error"}
    return CliRunner().invoke(marquee, ["trace", *map(str, arguments)], env=variables)


@pytest.mark.timeout(1800 if IS_SOAK else 300)
def test_answers_of_all_sources_are_made_again(settings: Settings, model: Path) -> None:
    rng = random.Random(5)
    fill_recent_activity(settings.recent_dir, rng)
    configured: list[dict[str, Any]] = [
        {},
        {"hidden_movies": ",".join(MOVIES[1:30:3])},
        {"hidden_movies": ",".join(MOVIES[:40]), "list_length": 7},
    ]
    apps = [create_app(settings.model_copy(update=changes)) for changes in configured]
    answered = []
    for _ in range(ANSWERS):
        number = rng.randrange(len(apps))
        answered.append((number, *answer(apps[number], rng.choice(KNOWN))))
    sources = {(number, source) for number, _, source, _ in answered}
    assert sources == {(i, s) for i in range(3) for s in ("personal", "popular", "recent")}
    lineage = Lineage(ship(settings), ListRemaker(model))
    for number, request_id, source, text in answered:
        (found,) = lineage.find_request(request_id)
        assert found["remade"] == {"result": "equal"}
        assert (found["source"], ",".join(found["movie_ids"])) == (source, text)
        hidden = configured[number].get("hidden_movies", "").split(",")
        assert found["configuration"]["hidden_movies"] == sorted(filter(None, hidden))
        assert not {*hidden} & {*found["movie_ids"]}
        assert bool(found["recent_events"]) == (source == "recent")


@pytest.fixture
def request_id(settings: Settings) -> str:
    """The id of an answer that depends on two movies; the user disliked a third."""
    with closing(make_table(settings.recent_dir)) as table:
        numbers = [table.number_movie(MOVIES[i]) for i in (20, 40, 50)]
        table.add(42, [watched(numbers[0], 60, NOW - 3600), watched(numbers[1], 0, NOW, 5)])
        table.add(42, [watched(numbers[2], 0, NOW - 60, 1)])
        table.advance_time(NOW)
        table.commit()
    answered = answer(create_app(settings), 42)
    assert answered[1] == "recent"
    ship(settings)
    return answered[0]


def test_a_trace_names_the_movies_and_when_they_were_watched(
    settings: Settings, request_id: str
) -> None:
    output = trace(settings, "--request", request_id).stdout
    assert f"1  because of {MOVIES[40]}, watched at 2026-05-02T00:00:00 (rated 5)" in output
    assert f"2  left out, without effect: {MOVIES[50]}, watched at 2026-05-01T23:59" in output
    assert f"3  because of {MOVIES[20]}, watched at 2026-05-01T23:00:00 (60 minutes)" in output
    record = json.loads(trace(settings, "--request", request_id, "--json").stdout)
    assert [event["movie_id"] for event in record["recent_events"]] == [
        MOVIES[40], MOVIES[50], MOVIES[20]
    ]  # fmt: skip
    assert record["configuration"]["data_newest"] == "2026-05-01T00:00:00"
    assert record["configuration"]["list_length"] == 20


def test_the_exit_status_says_whether_lists_are_equal(
    settings: Settings, model: Path, request_id: str, shared_model: Path
) -> None:
    found = trace(settings, "--request", request_id, "--model", model)
    assert (found.exit_code, "result                  equal" in found.stdout) == (0, True)
    found = trace(settings, "--user", 42, "--model", shared_model, "--json")
    assert found.exit_code == 3
    assert json.loads(found.stdout)["remade"]["result"] == "impossible"
    with connect(settings).begin() as connection:
        numbers = connection.scalar(sa.select(reccom.c.movie_numbers)) or b""
        connection.execute(
            sa.update(reccom).values(movie_numbers=numbers[2:4] + numbers[:2] + numbers[4:])
        )
    found = trace(settings, "--user", 42, "--model", model, "--json")
    assert found.exit_code == 3
    remade = json.loads(found.stdout)["remade"]
    assert (remade["result"], len(remade["movie_ids"])) == ("different", 20)


def test_a_missing_model_and_a_version_with_a_model_are_errors(
    settings: Settings, tmp_path: Path
) -> None:
    found = trace(settings, "--user", 1, "--model", tmp_path / "none")
    assert (found.exit_code, "no such model directory" in found.stderr) == (1, True)
    assert trace(settings, "--version", 1, "--model", tmp_path).exit_code == 2
