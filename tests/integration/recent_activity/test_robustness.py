"""Readers and writers that are stopped and killed, and a file that is damaged under them.

The movie of each user is named after the user, so that a foreign one is noticed.
"""

import os
import random
import signal
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import closing, contextmanager
from pathlib import Path

import pytest

from app.recent_activity import reader as reader_module
from app.recent_activity.reader import STATES, RecentActivityReader
from app.recent_activity.table_directory import TableLimits, open_current_table
from app.recent_activity.table_format import TABLE_NAME, TableError
from app.recent_activity.table_writer import TableWriter
from tests.support.recent_activity import (
    NOW,
    add_users,
    make_table,
    overwrite_page,
    read_table,
    watched,
)
from tests.support.soak import IS_SOAK
from tests.support.waiting import eventually

# Python 3.12 warns of a fork beside threads; the children use none of Polars.
pytestmark = pytest.mark.filterwarnings("ignore:.*fork.*:DeprecationWarning")

LIMITS = TableLimits(movies=2, older_movies=3, days=7, max_users=400)
SIZES = (LIMITS.movies, LIMITS.older_movies, LIMITS.max_users)
#: Twice the users that fit, so that places change their user all the time.
USERS = 800
ROUNDS = 60 if IS_SOAK else 6


@contextmanager
def child_process(run: Callable[[], None]) -> Iterator[int]:
    """Run a function in a forked process until the block ends; yield its id."""
    child = os.fork()
    if not child:
        try:
            run()
        finally:
            os._exit(1)
    try:
        yield child
    finally:
        os.kill(child, signal.SIGKILL)
        os.waitpid(child, 0)


def read_for_ever(directory: Path, results: int) -> None:
    """Read random users; write the number of each look-up's state, or `!` for a foreign movie."""
    reader, chance = RecentActivityReader(directory), random.Random(1)
    while True:
        for _ in range(50):
            user_id = chance.randrange(USERS)
            found = reader.get(user_id)
            movies = [*(event.movie for event in found.events), *found.older]
            is_foreign = {reader.movie_ids[movie] for movie in movies} - names_of(user_id)
            os.write(results, b"!" if is_foreign else b"%d" % STATES.index(found.state))


def names_of(user_id: int) -> set[str]:
    """Return the movies of a user: more than an entry has events."""
    return {f"of+{user_id}", *(f"{part}+of+{user_id}" for part in range(4))}


def write_some(table: TableWriter, chance: random.Random, time_after: int) -> None:
    for user_id in chance.sample(range(USERS), 40):
        names = chance.sample(sorted(names_of(user_id)), 3)
        time = NOW + time_after
        table.add(user_id, [watched(table.number_movie(name), time=time) for name in names])
    table.commit({"offset": table.state.sequence})


def write_for_ever(directory: Path) -> None:
    """Write until killed; a file that is damaged is made again, as the follower does."""
    chance = random.Random()
    while True:
        try:
            with open_current_table(directory, LIMITS, lambda _: {}, lambda _: None) as table:
                while True:
                    write_some(table, chance, table.state.sequence)
        except TableError:
            continue


def count_states(pipe: int, least: int) -> Counter[str]:
    """Read the states of at least so many look-ups."""
    states = Counter[str]()
    while states.total() < least:
        read = os.read(pipe, 65_536).decode()
        states.update("foreign movie" if code == "!" else STATES[int(code)] for code in read)
    return states


def test_a_reader_stopped_over_100_commits_reads_no_foreign_movies(tmp_path: Path) -> None:
    output, results = os.pipe()
    with closing(make_table(tmp_path, *SIZES)) as table:
        chance = random.Random(2)
        write_some(table, chance, 0)
        with child_process(lambda: read_for_ever(tmp_path, results)) as reader:
            states = Counter[str]()
            for round_number in range(ROUNDS):
                states += count_states(output, 200)
                os.kill(reader, signal.SIGSTOP)
                for commit in range(100):
                    write_some(table, chance, round_number * 100 + commit)
                os.kill(reader, signal.SIGCONT)
                states += count_states(output, 200)
    os.close(output)
    os.close(results)
    assert states["foreign movie"] == 0
    assert states["found"] > 50
    assert states.keys() <= {"found", "none", "overtaken", "uncached", "damaged", "opening"}
    # A writer that is interrupted within a page looks like damage until it goes on.
    assert states["damaged"] < states.total() / 20


@pytest.mark.slow
@pytest.mark.timeout(900)
def test_kills_and_damage_lose_no_answer_and_show_no_foreign_movies(tmp_path: Path) -> None:
    """The writer is killed and the file damaged; the reader goes on, and finds movies again."""
    chance = random.Random(int(os.environ["MARQUEE_TEST_SEED"]))
    output, results = os.pipe()
    with closing(make_table(tmp_path, *SIZES)) as table:
        add_users(table, range(100))
        pages, end = 16 + table.layout.buckets, table.layout.names_offset
    path = tmp_path / TABLE_NAME

    def is_whole(inode: int) -> bool:
        """Whether there is a new file, or the journal has restored what was cut off."""
        return path.stat().st_ino != inode or path.stat().st_size >= end

    with child_process(lambda: read_for_ever(tmp_path, results)) as reader:
        for round_number in range(ROUNDS):
            with child_process(lambda: write_for_ever(tmp_path)):
                inode = path.stat().st_ino
                if round_number % 3 == 0:
                    os.truncate(path, chance.randrange(end))
                elif round_number % 3 == 1:
                    for _ in range(5):
                        page = chance.randrange(pages)
                        overwrite_page(tmp_path, page, chance.randbytes(4096))
                if round_number % 3 == 0:
                    eventually(lambda i=inode: is_whole(i), 300, "a whole file")  # type: ignore[misc]
                eventually(lambda: count_states(output, 500)["found"] > 20, 300, "movies again")
            assert os.waitpid(reader, os.WNOHANG) == (0, 0)
        states = count_states(output, 500)
    os.close(output)
    os.close(results)
    assert states["foreign movie"] == 0
    with open_current_table(tmp_path, LIMITS, lambda _: {}, lambda _: None):
        pass
    users, _ = read_table(tmp_path)
    assert all({e[0] for e in events} <= names_of(u) for u, events in users.items())
    assert any(len(events) > LIMITS.movies for events in users.values())


def test_a_killed_reader_leaves_nothing_behind(tmp_path: Path) -> None:
    output, results = os.pipe()
    with closing(make_table(tmp_path, *SIZES)) as table:
        add_users(table, range(100))
        before = sorted(tmp_path.iterdir())
        with child_process(lambda: read_for_ever(tmp_path, results)):
            count_states(output, 50)
        add_users(table, range(100, 200))
        assert sorted(tmp_path.iterdir()) == before
        assert RecentActivityReader(tmp_path).get(150).state == "found"
    os.close(output)
    os.close(results)


def test_a_file_with_a_damaged_page_is_read_where_it_is_not(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(reader_module, "_CHECK_INTERVAL_SECONDS", 0.0)
    with closing(make_table(tmp_path, *SIZES)) as table:
        add_users(table, range(200))
    reader = RecentActivityReader(tmp_path)
    overwrite_page(tmp_path, 20, os.urandom(4096))
    states = Counter(reader.get(user_id).state for user_id in range(200))
    assert states.keys() == {"found", "damaged"}
