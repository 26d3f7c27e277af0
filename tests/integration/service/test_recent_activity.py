"""A movie that is watched by one line changes the next answer of the running service."""

import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from app.recent_activity.table_format import TABLE_NAME
from tests.conftest import MOVIES, ROOT, write_lists
from tests.support.recent import add_recent_parts
from tests.support.service import Server, serving
from tests.support.waiting import eventually

#: `marquee` where there is no Kafka client, as after `make run`.
MARQUEE = "import sys; sys.modules['kafka'] = None; from app.cli import main; main(sys.argv[1:])"


@pytest.fixture(scope="module")
def directory(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("recent")


@pytest.fixture(scope="module")
def server(directory: Path) -> Iterator[Server]:
    model = add_recent_parts(write_lists(directory / "model"))
    settings = {
        "MARQUEE_RECENT_DIR": str(directory / "recent"),
        "MARQUEE_SPOOL_DIR": str(directory / "spool"),
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
    response = server.get(f"/recommend/{user}")
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
