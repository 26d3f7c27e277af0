"""`marquee recommend --recent`: the lists that the service gives if it has seen these events."""

import json
import os
import random
import shutil
import subprocess
from pathlib import Path

import polars as pl
import pytest

from app.model.recommendation_lists import RecommendationLists
from app.recent_events import RecentEvent
from tests.conftest import MOVIES, write_lists
from tests.integration.training.conftest import run
from tests.support.recent import PARAMS, add_recent_parts, write_recent_manifest

SECOND = 1_777_680_000  # 2026-05-02T00:00:00
LOG = [
    f"2026-05-02T00:00:00,43,GET /data/m/{MOVIES[20]}/0.mpg",
    *(
        f"2026-05-02T00:{minute:02}:01,43,GET /data/m/{MOVIES[30]}/{minute}.mpg"
        for minute in range(9)
    ),
    f"2026-05-02T00:08:30,43,GET /rate/{MOVIES[20]}=4",
    f"2026-05-02T00:10,43,recommendation request host, status 200, result: {MOVIES[1]}, 9 ms",
    f"2026-05-02T00:20,42,GET /rate/{MOVIES[1]}=1",
    "2026-05-02T00:20,42,GET /rate/not+a+movie+of+the+model+1990=5",
    "damaged",
]


@pytest.fixture(scope="module")
def model(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return add_recent_parts(write_lists(tmp_path_factory.mktemp("recent") / "model"))


def recommend(model: Path, *arguments: object) -> dict[int, list[str]]:
    code, out, err = run("recommend", "--model", model, *arguments)
    assert code == 0, err
    rows = (line.split("\t") for line in out.splitlines())
    return {int(user): movies.split(",") for user, movies in rows}


def test_a_log_in_any_order_gives_the_lists_of_the_ranking(model: Path, tmp_path: Path) -> None:
    log = tmp_path / "events.log"
    lines = LOG + LOG[:3]  # some lines arrive twice
    random.Random(3).shuffle(lines)
    log.write_text("\n".join(lines) + "\n")
    ranking = RecommendationLists.open(model).recent
    assert ranking is not None
    expected = {
        42: [RecentEvent(-1, 0, 5, SECOND + 1200), RecentEvent(1, 0, 1, SECOND + 1200)],
        43: [RecentEvent(20, 1, 4, SECOND + 510), RecentEvent(30, 9, None, SECOND + 481)],
    }
    found = recommend(model, "--recent", log, "--n", 7)
    assert found == {
        user: [MOVIES[movie] for movie in ranking.rank(user, events, events[0].time, 7).movies]
        for user, events in expected.items()
    }
    assert MOVIES[1] not in found[42]
    assert found[43][:2] == [MOVIES[21], MOVIES[22]]


def test_a_table_counts_as_the_same_ratings_of_a_log(model: Path, tmp_path: Path) -> None:
    table, log = tmp_path / "ratings.csv", tmp_path / "events.log"
    ratings = [(43, 30, 5, 0), (43, 10, 3, 900), (44, 40, 4, 60)]
    rows = [f"{SECOND + time},{MOVIES[m]},{rating},{user}" for user, m, rating, time in ratings]
    table.write_text("\n".join(["timestamp,movieId,rating,userId", *reversed(rows)]) + "\n")
    log.write_text(
        "\n".join(
            f"2026-05-02T00:{time // 60:02}:00,{user},GET /rate/{MOVIES[m]}={rating}"
            for user, m, rating, time in ratings
        )
    )
    found = recommend(model, "--recent", table)
    assert found == recommend(model, "--recent", log)
    assert [*found] == [43, 44]
    assert found[44][:4] == MOVIES[41:45]


def test_users_without_events_get_their_stored_lists(model: Path, tmp_path: Path) -> None:
    log, users = tmp_path / "events.log", tmp_path / "users.txt"
    log.write_text("\n".join(LOG))
    users.write_text("7\n43\n1000\n")
    found = recommend(model, "--recent", log, "--users-file", users)
    stored = recommend(model, "--users-file", users)
    assert [*found] == [7, 43, 1000]
    assert (found[7], found[1000]) == (stored[7], stored[1000])
    assert found[43] != stored[43]


def test_json_names_the_movies_that_had_an_effect(model: Path, tmp_path: Path) -> None:
    log = tmp_path / "events.log"
    log.write_text("\n".join(LOG))
    code, out, _ = run("recommend", "--model", model, "--recent", log, "--json", 42, 43, 7)
    rows = {row["user_id"]: row for row in map(json.loads, out.splitlines())}
    assert code == 0
    assert {user: row["source"] for user, row in rows.items()} == {
        42: "recent", 43: "recent", 7: "personal"
    }  # fmt: skip
    assert [used["movie_id"] for used in rows[43]["recent"]] == [MOVIES[20], MOVIES[30]]
    assert rows[42]["recent"] == []


@pytest.mark.parametrize("kept", [16, 3])
def test_only_the_last_movies_have_an_effect_but_no_watched_movie_is_recommended(
    model: Path, tmp_path: Path, kept: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("MARQUEE_RECENT_MOVIES", str(kept))
    monkeypatch.setenv("MARQUEE_RECENT_OLDER_MOVIES", "0")
    log = tmp_path / "events.log"
    lines = [f"2026-05-02T00:{m:02}:00,43,GET /rate/{MOVIES[m]}=5" for m in range(20, 40)]
    log.write_text("\n".join(lines))
    code, out, _ = run("recommend", "--model", model, "--recent", log, "--n", 40, "--json")
    row = json.loads(out)
    assert code == 0
    assert sorted(row["movie_ids"]) == sorted(MOVIES[:20] + MOVIES[40:])
    assert [used["movie_id"] for used in row["recent"]] == MOVIES[39 : 39 - kept : -1]


def test_no_watched_movie_is_recommended_after_movies_that_the_model_does_not_have(
    model: Path, tmp_path: Path
) -> None:
    log = tmp_path / "log"
    lines = [f"2026-05-02T00:01:00,43,GET /rate/{MOVIES[59]}=5"]
    lines += [f"2026-05-02T00:{m + 2}:00,43,GET /rate/new+movie+{m}+2026=5" for m in range(10, 30)]
    log.write_text("\n".join(lines))
    assert recommend(model, "--n", 20, 43)[43][0] == MOVIES[59]
    assert recommend(model, "--n", 20, "--recent", log)[43] == MOVIES[58:38:-1]


def test_events_that_the_service_has_removed_count_as_of_their_own_time(
    model: Path, tmp_path: Path
) -> None:
    copy, log = tmp_path / "model", tmp_path / "log"
    shutil.copytree(model, copy)
    write_recent_manifest(copy / "lists", recent={**PARAMS, "half_life_hours": 0.5})
    old = [f"2026-05-02T00:00:00,43,GET /rate/{MOVIES[30]}=5"]
    log.write_text("\n".join([*old, f"2026-05-31T00:00:00,44,GET /rate/{MOVIES[10]}=5"]))
    assert recommend(copy, "--recent", log)[43][:4] == MOVIES[31:35]


@pytest.mark.parametrize("is_log", [True, False])
def test_a_pipe_is_read_like_a_file(model: Path, tmp_path: Path, is_log: bool) -> None:
    file, pipe = tmp_path / "events", tmp_path / "pipe"
    rows = [f"{user},{MOVIES[30]},5,{SECOND}" for user in (43, 44)]
    file.write_text("\n".join(LOG if is_log else rows) + "\n")
    expected = recommend(model, "--recent", file)
    os.mkfifo(pipe)
    with subprocess.Popen(["cp", file, pipe]) as writer:
        assert recommend(model, "--recent", pipe) == expected
    assert writer.returncode == 0


def test_ratings_without_a_time_are_as_new_as_can_be(model: Path, tmp_path: Path) -> None:
    rows = pl.DataFrame({"user_id": [43], "movie_id": [MOVIES[30]], "rating": [5]})
    rows.write_csv(tmp_path / "ratings.csv")
    assert recommend(model, "--recent", tmp_path / "ratings.csv")[43][:4] == MOVIES[31:35]


@pytest.mark.parametrize(
    ("content", "message"),
    [("damaged,1,GET /x\n", "no line is a watch or a rating"), (None, "cannot be read")],
)
def test_a_file_without_events_is_an_error(
    model: Path, tmp_path: Path, content: str | None, message: str
) -> None:
    if content is not None:
        (tmp_path / "events").write_text(content)
    code, out, err = run("recommend", "--model", model, "--recent", tmp_path / "events")
    assert (code, out) == (1, "")
    assert message in err or "No such file" in err


def test_a_model_without_the_parts_is_an_error(shared_model: Path, tmp_path: Path) -> None:
    (tmp_path / "events").write_text("\n".join(LOG))
    code, _, err = run("recommend", "--model", shared_model, "--recent", tmp_path / "events")
    assert (code, "lacks the parts for recent events" in err) == (1, True)


def test_users_twice_are_wrong_usage(model: Path, tmp_path: Path) -> None:
    (tmp_path / "users").write_text("7\n")
    arguments = ["--recent", tmp_path / "e", "--users-file", tmp_path / "users", 42]
    assert run("recommend", "--model", model, *arguments)[0] == 2
