"""`marquee follow` with files, pipes and an event store, as processes of their own."""

import json
import os
import subprocess
import sys
from collections.abc import Iterator
from contextlib import closing, contextmanager
from pathlib import Path
from threading import Event

import pytest

from app.ingest.errors import IngestError
from app.ingest.event_buffer import EventBuffer
from app.ingest.ingest_files import ingest_log_files
from app.ingest.log_parser import ONE_TO_FIVE, Rating, Watch, parse_line
from app.ingest.store_files import lock_directory
from app.ingest.store_writer import open_writer
from app.recent_activity.errors import RecentActivityError
from app.recent_activity.file_follower import follow_files
from app.recent_activity.removal import remove_user
from app.recent_activity.table_writer import REFUSED_NAME, open_table
from app.settings import Settings, read_settings
from tests.conftest import ROOT
from tests.support.recent_activity import (
    describe_users,
    get_events,
    make_earlier_format,
    read_table,
)
from tests.support.waiting import eventually

LINE = "2022-11-14T12:24,{user},GET /data/m/{movie}/{minute}.mpg\n"


@pytest.fixture
def settings(tmp_path: Path) -> Settings:
    return read_settings(
        recent_dir=tmp_path / "recent", store_dir=tmp_path / "store", recent_max_users=2000
    )


@contextmanager
def follow_stdin(settings: Settings) -> Iterator["subprocess.Popen[bytes]"]:
    """Run `marquee follow --file -`; kill it at the end if it still runs."""
    environment = {
        **os.environ,
        "MARQUEE_RECENT_DIR": str(settings.recent_dir),
        "MARQUEE_STORE_DIR": str(settings.store_dir),
        "MARQUEE_RECENT_MAX_USERS": str(settings.recent_max_users),
        "POLARS_MAX_THREADS": "1",
    }
    process = subprocess.Popen(
        [sys.executable, "-m", "app", "follow", "--file", "-", "--json"],
        cwd=ROOT, env=environment, stdin=subprocess.PIPE, stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
    )  # fmt: skip
    try:
        yield process
    finally:
        process.kill()
        process.communicate()


def write_line(process: "subprocess.Popen[bytes]", user: int, movie: str, minute: int = 0) -> None:
    assert process.stdin is not None
    process.stdin.write(LINE.format(user=user, movie=movie, minute=minute).encode())
    process.stdin.flush()


def state_of(settings: Settings, user_id: int) -> str:
    return get_events(settings.recent_dir, user_id).state


def write_log(path: Path, lines: int, first_user: int = 1) -> Path:
    path.write_text(
        "".join(
            LINE.format(user=first_user + n % 100, movie=f"movie+{n % 7}+2009", minute=n // 100)
            for n in range(lines)
        )
    )
    return path


def follow(settings: Settings, *names: str | Path) -> dict[str, object]:
    return follow_files(list(map(str, names)), settings, Event())


@pytest.mark.slow
def test_lines_of_an_open_pipe_are_read_and_a_user_is_removed_meanwhile(
    settings: Settings,
) -> None:
    with follow_stdin(settings) as process:
        write_line(process, 7, "up+2009")
        eventually(lambda: state_of(settings, 7) == "found", 120, "the first line")
        write_line(process, 8, "up+2009")
        eventually(lambda: state_of(settings, 8) == "found", 120, "the second line")
        with pytest.raises(IngestError, match="is being written by process"):
            follow(settings, "-")
        remove_user(settings.recent_dir, 7, timeout_seconds=120)
        assert state_of(settings, 7) == "none"
        assert state_of(settings, 8) == "found"
        process.terminate()
        output, log = process.communicate(timeout=120)
    assert process.returncode == 0, log
    assert json.loads(output)["lines"] == 2


def test_a_log_gives_each_users_last_movies(settings: Settings, shared_data: Path) -> None:
    log = shared_data / "movielog" / "stream.log"
    settings = settings.model_copy(update={"recent_max_users": 40_000})
    summary = follow(settings, log)
    assert (summary["lines"], summary["watches"], summary["rejected"]) == (50_000, 49_258, 51)
    users, _ = read_table(settings.recent_dir)
    assert len(users) == summary["users"]
    expected: dict[int, set[str]] = {}
    for line in log.read_text(errors="replace").splitlines():
        event = parse_line(line)
        if isinstance(event, Watch | Rating):
            expected.setdefault(event.user_id, set()).add(event.movie_id)
    assert {
        user_id: {event[0] for event in events} for user_id, events in users.items()
    } == expected


def test_the_newest_rating_of_a_batch_counts(settings: Settings, tmp_path: Path) -> None:
    lines = [f"2022-11-14T12:2{n},7,GET /rate/up+2009={rating}" for n, rating in ((5, 1), (4, 5))]
    (tmp_path / "log").write_text("\n".join(lines))
    follow(settings, tmp_path / "log")
    users, _ = read_table(settings.recent_dir)
    assert users[7][0][-1] == 1


def test_invalid_input_is_an_error_and_changes_nothing(settings: Settings, tmp_path: Path) -> None:
    follow(settings, write_log(tmp_path / "log", 10))
    (tmp_path / "table").write_text("user,movie\n" * 3)
    for name in ("table", "missing"):
        with pytest.raises((RecentActivityError, IngestError)):
            follow(settings, tmp_path / name)
    assert read_table(settings.recent_dir)[0].keys() == set(range(1, 11))


def test_a_new_file_is_filled_from_the_event_store_and_its_positions(
    settings: Settings, tmp_path: Path
) -> None:
    settings = settings.model_copy(update={"recent_movies": 3, "recent_older_movies": 2})
    log = write_log(tmp_path / "log", 700)
    with log.open("a") as file:
        file.write("2022-11-14T12:30,5,GET /rate/movie+3+2009=4\n")
        file.write("2022-11-14T12:31,5,GET /rate/only+rated+2009=2\n")
        file.write("2022-11-01T12:31,6,GET /data/m/long+ago+2009/0.mpg\n")
    ingest_log_files([str(log)], settings.store_dir, ONE_TO_FIVE)
    with open_writer(settings.store_dir) as writer:
        EventBuffer(writer, ONE_TO_FIVE).flush({"movielog-0": {"offset": 703}})
    more = write_log(tmp_path / "more", 1, first_user=500)
    follow(settings, more)
    users, offsets = read_table(settings.recent_dir)
    assert offsets == {"movielog-0": {"offset": 703}}
    assert users.keys() == {*range(1, 101), 500}
    assert [event[0] for event in users[5][:2]] == ["only+rated+2009", "movie+3+2009"]
    assert [event[-1] for event in users[5][:3]] == [2.0, 4.0, None]
    # Of seven movies and one that was only rated; of two of them only the number.
    assert [len(movie) for movie in users[5]] == [6, 6, 6, 1, 1]
    assert "long+ago+2009" not in {event[0] for event in users[6]}


@pytest.mark.parametrize("movies", [16, 3])
def test_a_store_and_a_log_give_the_same_movies(
    settings: Settings, tmp_path: Path, movies: int
) -> None:
    settings = settings.model_copy(update={"recent_movies": movies, "recent_older_movies": 3})
    log = write_log(tmp_path / "log", 700)
    follow(settings, log)
    read, _ = read_table(settings.recent_dir)
    ingest_log_files([str(log)], settings.store_dir, ONE_TO_FIVE)
    other = settings.model_copy(update={"recent_dir": tmp_path / "other"})
    follow(other, log)
    assert read_table(other.recent_dir)[0] == read


def test_a_damaged_file_is_filled_again_from_the_store(settings: Settings, tmp_path: Path) -> None:
    log = write_log(tmp_path / "log", 700)
    ingest_log_files([str(log)], settings.store_dir, ONE_TO_FIVE)
    follow(settings, log)
    before, _ = read_table(settings.recent_dir)
    os.truncate(settings.recent_dir / "activity.table", 66_000)
    follow(settings, write_log(tmp_path / "more", 1, first_user=500))
    assert read_table(settings.recent_dir)[0].keys() == {*before, 500}
    assert (settings.recent_dir / REFUSED_NAME).stat().st_size == 66_000


def test_a_file_of_the_earlier_format_is_filled_again_from_the_store(
    settings: Settings, tmp_path: Path
) -> None:
    log = write_log(tmp_path / "log", 700)
    ingest_log_files([str(log)], settings.store_dir, ONE_TO_FIVE)
    follow(settings, log)
    before, _ = read_table(settings.recent_dir)
    make_earlier_format(settings.recent_dir)
    assert state_of(settings, 5) == "foreign"
    follow(settings, write_log(tmp_path / "more", 1, first_user=500))
    assert read_table(settings.recent_dir)[0].keys() == {*before, 500}
    assert state_of(settings, 5) == "found"
    assert (settings.recent_dir / REFUSED_NAME).exists()


def test_a_user_is_removed_without_a_follower(settings: Settings, tmp_path: Path) -> None:
    remove_user(settings.recent_dir, 7)  # there is nothing yet
    follow(settings, write_log(tmp_path / "log", 100))
    remove_user(settings.recent_dir, 7)
    assert read_table(settings.recent_dir)[0].keys() == {*range(1, 101)} - {7}
    os.truncate(settings.recent_dir / "activity.table", 100)
    remove_user(settings.recent_dir, 8)  # of a file that cannot be read nothing may stay
    assert not (settings.recent_dir / "activity.table").exists()


def test_a_removal_that_no_follower_carries_out_is_an_error(
    settings: Settings, tmp_path: Path
) -> None:
    follow(settings, write_log(tmp_path / "log", 100))
    with (
        lock_directory(settings.recent_dir, "the recent activity"),
        pytest.raises(RecentActivityError, match="user 7 was not removed"),
    ):
        remove_user(settings.recent_dir, 7, timeout_seconds=0.3)
    follow(settings, write_log(tmp_path / "log", 100, first_user=200))
    with closing(open_table(settings.recent_dir)) as table:
        assert 7 not in describe_users(table)


def test_a_closed_standard_input_is_an_error(
    settings: Settings, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(sys, "stdin", None)
    with pytest.raises(IngestError, match="standard input is closed"):
        follow_files(["-"], settings, Event())
