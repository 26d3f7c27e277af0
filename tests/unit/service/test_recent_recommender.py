"""Recommendations that depend on recent activity, and those that cannot."""

import os
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest
from flask.testing import FlaskClient

from app.model.recent_ranking import RecentRanking
from app.recent_activity import reader as reader_module
from app.recent_activity.table_format import TABLE_NAME
from app.recent_activity.table_writer import TableWriter, open_table
from app.service.application import create_app
from app.settings import Settings
from tests.conftest import MOVIES, write_lists
from tests.support.recent import NEWEST_SECONDS, add_recent_parts
from tests.support.recent_activity import (
    make_earlier_format,
    make_table,
    overwrite_page,
    watched,
)

SECONDS = int(NEWEST_SECONDS) + 3600


@pytest.fixture(autouse=True)
def check_at_every_look_up(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(reader_module, "_CHECK_INTERVAL_SECONDS", 0.0)


@pytest.fixture(scope="module")
def model(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return add_recent_parts(write_lists(tmp_path_factory.mktemp("recent") / "model"))


@pytest.fixture
def table(tmp_path: Path) -> Iterator[TableWriter]:
    with closing(make_table(tmp_path / "recent", max_users=2000)) as writer:
        yield writer


def make_client(model: Path, tmp_path: Path, **settings: Any) -> FlaskClient:
    values = {"recent_dir": tmp_path / "recent", "provenance_enabled": False, **settings}
    return create_app(Settings(model_dir=model, **values)).test_client()


def add(table: TableWriter, user: int, movie: str, **event: Any) -> None:
    table.add(user, [watched(table.number_movie(movie), **{"time": SECONDS, **event})])
    table.advance_time(SECONDS)
    table.commit()


def ask(client: FlaskClient, user: int) -> tuple[str, list[str]]:
    response = client.get(f"/recommend/{user}")
    assert response.status_code == 200
    return response.headers["X-Recommendation-Source"], response.text.split(",")


def unused(client: FlaskClient) -> dict[str, float]:
    """The reasons that were counted."""
    lines = client.get("/metrics").text.splitlines()
    counts = (line.rsplit(" ", 1) for line in lines if line.startswith("marquee_recent_unused_t"))
    return {name.split('"')[1]: float(n) for name, n in counts if float(n)}


def test_a_watch_changes_the_next_recommendation(
    model: Path, tmp_path: Path, table: TableWriter
) -> None:
    client = make_client(model, tmp_path, hidden_movies=MOVIES[23])
    before = ask(client, 900)
    assert before[0] == "popular"
    add(table, 900, MOVIES[20], minutes=60)
    source, movies = ask(client, 900)
    assert source == "recent"
    assert movies[:3] == [MOVIES[21], MOVIES[22], MOVIES[24]]  # 23 is hidden
    assert MOVIES[20] not in movies
    assert len(set(movies)) == 20
    assert set(movies[3:]) < set(MOVIES)
    assert ask(client, 901) == before
    assert unused(client) == {}
    assert 'marquee_recommendations_total{source="recent"} 1.0' in client.get("/metrics").text


def test_a_movie_beyond_the_last_ones_is_not_recommended_again(model: Path, tmp_path: Path) -> None:
    watched_movies = MOVIES[:50]
    with closing(make_table(tmp_path / "recent", 16, 34)) as table:
        for number, movie in enumerate(watched_movies):
            add(table, 900, movie, time=SECONDS + number)
    client = make_client(model, tmp_path)
    source, movies = ask(client, 900)
    assert source == "recent"
    assert sorted(movies) == MOVIES[50:]
    with closing(open_table(tmp_path / "recent")) as table:
        add(table, 900, MOVIES[50], time=SECONDS + 50)
    assert sorted(ask(client, 900)[1]) == [MOVIES[0], *MOVIES[51:]]  # the first of 51


def test_older_movies_are_left_out_after_movies_that_the_model_does_not_have(
    model: Path, tmp_path: Path, table: TableWriter
) -> None:
    before = ask(make_client(model, tmp_path), 900)
    add(table, 900, before[1][0])
    for number in range(4):
        add(table, 900, f"not+in+the+model+{number}", time=SECONDS + 1 + number)
    source, movies = ask(make_client(model, tmp_path), 900)
    assert source == "recent"
    assert movies[:19] == before[1][1:]


def test_events_that_the_model_has_seen_leave_the_list_as_it_is(
    model: Path, tmp_path: Path, table: TableWriter
) -> None:
    client = make_client(model, tmp_path)
    stored = ask(client, 42)
    add(table, 42, MOVIES[20], time=int(NEWEST_SECONDS))
    add(table, 42, "not+in+the+model+1999")
    assert ask(client, 42) == stored


def test_without_a_file_every_user_has_the_stored_list(model: Path, tmp_path: Path) -> None:
    client, stored = (make_client(model, tmp_path, recent_enabled=on) for on in (True, False))
    assert [ask(client, user) for user in (7, 42, 1000)] == [
        ask(stored, user) for user in (7, 42, 1000)
    ]
    assert unused(client) == {"absent": 3}
    assert unused(stored) == {}
    assert "marquee_recent_age_seconds +Inf" in client.get("/metrics").text
    assert "marquee_recent_age_seconds" not in stored.get("/metrics").text


@pytest.mark.parametrize(
    ("damage", "reason"),
    [
        (lambda path: os.truncate(path, 70_000), "damaged"),
        (lambda path: overwrite_page(path.parent, 0, b"SQLite format 3\0"), "foreign"),
        (lambda path: overwrite_page(path.parent, 0, os.urandom(4)), "foreign"),
        (lambda path: make_earlier_format(path.parent), "foreign"),
        (lambda path: path.unlink(), "absent"),
    ],
)
def test_a_file_that_cannot_be_read_costs_no_answer(
    model: Path, tmp_path: Path, table: TableWriter, damage: Any, reason: str
) -> None:
    add(table, 42, MOVIES[20])
    damage(tmp_path / "recent" / TABLE_NAME)
    client = make_client(model, tmp_path)
    assert ask(client, 42) == ask(make_client(model, tmp_path, recent_enabled=False), 42)
    assert unused(client) == {reason: 1}


def test_a_model_without_the_parts_answers_and_is_counted(
    shared_model: Path, tmp_path: Path, table: TableWriter
) -> None:
    add(table, 42, MOVIES[20])
    client = make_client(shared_model, tmp_path)
    assert ask(client, 42)[0] == "personal"
    assert unused(client) == {"model": 1}


def test_an_unexpected_error_costs_no_answer(
    model: Path, tmp_path: Path, table: TableWriter, monkeypatch: pytest.MonkeyPatch
) -> None:
    add(table, 42, MOVIES[20])
    client = make_client(model, tmp_path)

    def fail(*_: Any) -> None:
        raise RuntimeError("a defect")

    monkeypatch.setattr(RecentRanking, "rank", fail)
    assert ask(client, 42)[0] == "personal"
    assert unused(client) == {"error": 1}


def test_a_look_up_reads_a_new_file_s_movie_ids_in_parts(
    model: Path, tmp_path: Path, table: TableWriter, monkeypatch: pytest.MonkeyPatch
) -> None:
    for number in range(300):
        table.number_movie(f"another+movie+{number}+1999")
    add(table, 42, MOVIES[20])
    monkeypatch.setattr(reader_module, "_MAX_NAME_BYTES", 2000)
    client = make_client(model, tmp_path)
    stored = ask(make_client(model, tmp_path, recent_enabled=False), 42)
    answers = [ask(client, 42) for _ in range(8)]
    assert answers[:3] == [stored] * 3
    assert answers[-1][0] == "recent"
    assert unused(client).keys() == {"opening"}
    reader = create_app(
        Settings(model_dir=model, recent_dir=tmp_path / "recent", provenance_enabled=False)
    )
    reader.extensions["marquee.after_fork"]()  # what a worker does reads all of them
    assert ask(reader.test_client(), 42) == answers[-1]
