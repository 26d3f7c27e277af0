"""A movie that is watched by one line changes the next answer of the running service."""

import json
import os
import random
import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
import requests

from app.recent_activity.table_format import TABLE_NAME
from tests.conftest import MOVIES, ROOT, USERS, write_lists
from tests.integration.training.conftest import run
from tests.support.recent import add_recent_parts
from tests.support.service import Server, serving
from tests.support.waiting import eventually

#: `marquee` where there is no Kafka client, as after `make run`.
MARQUEE = "import sys; sys.modules['kafka'] = None; from app.cli import main; main(sys.argv[1:])"

HIDDEN = MOVIES[50]


@pytest.fixture(scope="module")
def directory(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("recent")


@pytest.fixture(scope="module")
def server(directory: Path) -> Iterator[Server]:
    model = add_recent_parts(write_lists(directory / "model"))
    settings = {
        "MARQUEE_RECENT_DIR": str(directory / "recent"),
        "MARQUEE_SPOOL_DIR": str(directory / "spool"),
        "MARQUEE_HIDDEN_MOVIES": HIDDEN,
        "MARQUEE_WORKERS": "2",
    }
    with serving(model, directory, **settings) as running:
        yield running


def follow(directory: Path, *lines: str) -> None:
    done = subprocess.run(
        [sys.executable, "-c", MARQUEE, "follow", "--file", "-"],
        input="\n".join(lines).encode(),
        env={
            **os.environ,
            "MARQUEE_RECENT_DIR": str(directory / "recent"),
            "MARQUEE_STORE_DIR": str(directory / "store"),
        },
        cwd=ROOT,
        capture_output=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr.decode()


def watch(user: int, movie: str, minute: int = 60) -> str:
    return f"2026-05-02T12:00:0{minute % 10},{user},GET /data/m/{movie}/{minute}.mpg"


def ask(server: Server, user: int) -> tuple[str, list[str]]:
    response = requests.get(f"{server.url}/recommend/{user}", timeout=60)
    assert response.status_code == 200
    return response.headers["X-Recommendation-Source"], response.text.split(",")


def ask_until(server: Server, user: int, source: str) -> list[str]:
    """Ask until each worker must have answered with this source."""
    answers: list[tuple[str, list[str]]] = []

    def has_source() -> bool:
        answers[:] = [ask(server, user) for _ in range(10)]
        return {answer[0] for answer in answers} == {source}

    eventually(has_source, 60, lambda: str(answers))
    return answers[0][1]


def test_a_movie_is_watched_by_one_line_and_the_next_answer_is_another(
    server: Server, directory: Path
) -> None:
    source, before = ask(server, 900)
    assert source == "popular"
    follow(directory, watch(900, MOVIES[20]))
    after = ask_until(server, 900, "recent")
    assert after[:4] == MOVIES[21:25]
    assert after != before
    assert ask(server, 901) == ("popular", before)
    metrics = server.get("/metrics").text
    assert 'marquee_recommendations_total{source="recent"}' in metrics
    age = next(x for x in metrics.splitlines() if x.startswith("marquee_recent_age_seconds "))
    assert 0 <= float(age.split()[1]) < 3600


def test_a_killed_worker_is_replaced_by_one_that_reads_it(server: Server, directory: Path) -> None:
    follow(directory, watch(902, MOVIES[30]))
    expected = ask_until(server, 902, "recent")
    before = server.workers()
    os.kill(before[0], signal.SIGKILL)
    eventually(lambda: len(set(server.workers()) - set(before)) == 1, 60)
    assert ask_until(server, 902, "recent") == expected


def test_a_truncated_file_costs_no_answer_and_a_new_one_is_read(
    server: Server, directory: Path
) -> None:
    follow(directory, watch(903, MOVIES[40]))
    ask_until(server, 903, "recent")
    workers = server.workers()
    os.truncate(directory / "recent" / TABLE_NAME, 66_000)
    ask_until(server, 903, "popular")
    assert server.workers() == workers
    follow(directory, watch(903, MOVIES[40]))  # refuses it, and makes a new one
    ask_until(server, 903, "recent")
    assert server.workers() == workers
    unused = [x for x in server.get("/metrics").text.splitlines() if "recent_unused_total{" in x]
    assert any('reason="damaged"' in x and not x.endswith(" 0.0") for x in unused), unused


def make_events(chance: random.Random, users: list[int]) -> list[str]:
    """Return lines of three days in any order: up to 16 movies of each user, some at one time."""
    lines = []
    for user in users:
        for movie in chance.sample([*MOVIES, "unknown+movie+1999"], chance.randint(1, 16)):
            day, hour = chance.choice([(30, 4), (1, 5), (2, 5), (3, 5)]), chance.randrange(3)
            start = f"2026-{day[1]:02}-{day[0]:02}T{20 + hour}"
            for minute in range(chance.choice([0, 1, 5, 40])):
                lines.append(f"{start}:{minute:02}:00,{user},GET /data/m/{movie}/{minute}.mpg")
            for rating in chance.sample(range(1, 6), chance.choice([0, 1, 2])):
                lines.append(f"{start}:{30 + rating}:00,{user},GET /rate/{movie}={rating}")
    chance.shuffle(lines)
    return lines


def test_the_command_prints_what_the_service_answers(
    server: Server, directory: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("MARQUEE_HIDDEN_MOVIES", HIDDEN)
    seed = int(os.environ["MARQUEE_TEST_SEED"])
    users = [*USERS, *range(2000, 2012)]
    lines = make_events(random.Random(seed), users)
    # One user has watched more movies than affect the list, in the order of time.
    for hour, movie in enumerate(MOVIES[:45]):
        lines.append(f"2026-05-{1 + hour // 24:02}T{hour % 24:02}:05:00,3001,GET /rate/{movie}=5")
    users += [3000, 3001]  # 3000 has none
    (directory / "events.log").write_text("\n".join(lines))
    follow(directory, *lines)
    arguments = ("--model", directory / "model", "--recent", directory / "events.log", "--json")
    code, out, err = run("recommend", *arguments, *users)
    assert code == 0, err
    rows = [json.loads(line) for line in out.splitlines()]
    expected = {row["user_id"]: (row["source"], row["movie_ids"]) for row in rows}
    found: dict[int, list[tuple[str, list[str]]]] = {}

    def is_equal() -> bool:
        # Each worker may see the commit a second later than the other one.
        found.update({user: [ask(server, user) for _ in range(4)] for user in users})
        return all(answer == expected[user] for user in users for answer in found[user])

    eventually(is_equal, 120, lambda: f"seed {seed}: {_differences(found, expected)}")
    assert {source for source, _ in expected.values()} >= {"recent", "popular"}


def _differences(
    found: dict[int, list[tuple[str, list[str]]]], expected: dict[int, tuple[str, list[str]]]
) -> list[object]:
    return [
        (user, found[user], expected[user]) for user in found if found[user][0] != expected[user]
    ]
