import os
import signal
from contextlib import closing
from pathlib import Path

import pytest

from app.recent_activity import table_writer
from app.recent_activity.journal import JOURNAL_NAME
from app.recent_activity.table_directory import TableLimits, open_current_table
from app.recent_activity.table_format import TABLE_NAME, TableError
from app.recent_activity.table_writer import (
    REFUSED_NAME,
    NumberingFullError,
    TableWriter,
    open_table,
)
from tests.support.recent_activity import (
    NOW,
    add_users,
    describe_users,
    find_page,
    make_table,
    overwrite_page,
    read_table,
    watched,
)

DAY = 86_400
LIMITS = TableLimits(movies=4, older_movies=3, days=7, max_users=100)


def open_current(directory: Path, limits: TableLimits = LIMITS) -> TableWriter:
    """Open the file as the follower does; a new one begins with user 99."""

    def fill(table: TableWriter) -> dict[str, object]:
        table.add(99, [watched(table.number_movie("new"))])
        return {"refilled": True}

    with open_current_table(directory, limits, fill, lambda _: None):
        pass
    return open_table(directory)


def test_commits_are_there_after_a_restart(tmp_path: Path) -> None:
    with closing(make_table(tmp_path)) as table:
        add_users(table, range(50))
        table.add(3, [watched(table.number_movie("up+2009"), minutes=7, time=NOW + 1, rating=4)])
        table.commit({"movielog-0": {"offset": 51}})
        table.add(4, [watched(table.number_movie("not+committed"), time=NOW + 1)])
    users, offsets = read_table(tmp_path)
    assert offsets == {"movielog-0": {"offset": 51}}
    assert users.keys() == set(range(50))
    assert users[3] == [("up+2009", NOW + 1, 7, 6, 6, 4.0), ("of+3", NOW, 1, 0, 0, None)]
    assert users[4] == [("of+4", NOW, 1, 0, 0, None)]


@pytest.mark.filterwarnings("ignore:.*fork.*:DeprecationWarning")
def test_a_commit_killed_within_its_writes_is_complete_after_a_restart(tmp_path: Path) -> None:
    with closing(make_table(tmp_path)) as table:
        add_users(table, range(50))
    child = os.fork()
    if not child:
        with closing(open_table(tmp_path)) as table:

            def die(*_: object) -> None:
                os.kill(os.getpid(), signal.SIGKILL)

            table._write_pages = die  # type: ignore[method-assign]
            for user_id in range(50, 60):
                table.add(user_id, [watched(table.number_movie(f"of+{user_id}"))])
            table.commit({"offset": 60})
    assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == -signal.SIGKILL
    users, offsets = read_table(tmp_path)
    assert users.keys() == set(range(60))
    assert offsets == {"offset": 60}
    assert all(events[0][0] == f"of+{user_id}" for user_id, events in users.items())


@pytest.mark.parametrize("broken", range(5))
def test_commits_before_a_checkpoint_are_not_written_over_later_ones(
    tmp_path: Path, broken: int
) -> None:
    """The first record after it may be on the disk in parts only, over some of those before it."""
    ends = []
    with closing(make_table(tmp_path)) as table:
        for count in range(1, 6):
            table.add(7, [watched(table.number_movie(f"of+{count}"), time=NOW + count)])
            add_users(table, range(100 * count, 100 * count + 5))
            table.commit({"offset": count})
            ends.append((tmp_path / JOURNAL_NAME).stat().st_size)
        table.checkpoint()
    with (tmp_path / JOURNAL_NAME).open("r+b") as journal:
        journal.seek([0, *ends][broken] + 40)
        journal.write(bytes(8))
    with closing(open_table(tmp_path)) as table:
        assert table.state.offsets == {"offset": 5}
        users = describe_users(table)
    assert len(users) == 26
    assert [event[0] for event in users[7][:2]] == ["of+5", "of+4"]


def test_a_full_file_removes_the_users_without_events_for_the_longest_time(tmp_path: Path) -> None:
    with closing(make_table(tmp_path, max_users=200)) as table:
        places = table.layout.buckets * table.layout.users_per_bucket
        movie = table.number_movie("movie")
        for user_id in range(5 * places):
            table.add(user_id, [watched(movie, time=NOW + user_id)])
        table.commit()
        users = describe_users(table)
        assert table.state.users == len(users) <= places
        assert table.displaced_users == 5 * places - len(users)
        newest = set(range(4 * places, 5 * places))
        assert len(users.keys() & newest) > 0.8 * len(users)
        size = (tmp_path / TABLE_NAME).stat().st_size
        assert size < table.layout.names_offset + 100


@pytest.mark.parametrize("max_users", [100, 4000])
def test_as_many_users_as_the_file_is_made_for_fit(tmp_path: Path, max_users: int) -> None:
    with closing(make_table(tmp_path, movies=16, max_users=max_users)) as table:
        table.number_movie("movie")
        for user_id in range(1, max_users + 1):
            table.add(user_id * 7919, [watched(0)])
        assert table.displaced_users <= max_users // 50


def test_expired_events_and_users_leave(tmp_path: Path) -> None:
    with closing(make_table(tmp_path)) as table:
        table.retention_seconds = 7 * DAY
        add_users(table, range(20), time=NOW)
        add_users(table, range(10, 20), time=NOW + 5 * DAY)
        table.add(15, [watched(table.number_movie("later"), time=NOW + 5 * DAY)])
        table.commit()
        table.advance_time(NOW + 8 * DAY)
        table.sweep(table.layout.buckets)
        table.commit()
        assert table.expired_users == 10
        users = describe_users(table)
        assert users.keys() == set(range(10, 20))
        assert table.state.users == 10
    assert not any(event[0] == b"of+3" for events in users.values() for event in events)


def test_older_movies_leave_with_the_first_event_that_expires(tmp_path: Path) -> None:
    with closing(make_table(tmp_path)) as table:
        table.retention_seconds = 7 * DAY
        for user_id in (1, 2):
            for day, movie in enumerate("abcdef"):
                number = table.number_movie(movie)
                table.add(user_id, [watched(number, time=NOW + day * DAY)])
        table.add(2, [watched(table.number_movie("c"), time=NOW + 9 * DAY)])
        table.commit()
        assert [movies[0] for movies in describe_users(table)[1]] == [*"fedcba"]
        assert [movies[0] for movies in describe_users(table)[2]] == [*"cfedba"]
        table.advance_time(NOW + 9 * DAY + 1)  # c has expired, of user 1
        table.sweep(table.layout.buckets)
        table.commit()
        assert [movies[0] for movies in describe_users(table)[1]] == [*"fed"]
        assert [movies[0] for movies in describe_users(table)[2]] == [*"cfedba"]
    assert [movies[0] for movies in read_table(tmp_path)[0][1]] == [*"fed"]


def test_an_expired_event_is_not_added(tmp_path: Path) -> None:
    with closing(make_table(tmp_path)) as table:
        table.retention_seconds = 7 * DAY
        table.advance_time(NOW + 8 * DAY)
        add_users(table, [1])
        assert table.users == 0


def test_a_removed_user_is_not_on_the_disk(tmp_path: Path) -> None:
    user_id = 0x1122334455667788
    with closing(make_table(tmp_path)) as table:
        add_users(table, [user_id, 2])
        assert table.remove(user_id)
        assert not table.remove(3)
        table.commit()
        table.checkpoint(erase=True)
        for name in (TABLE_NAME, JOURNAL_NAME):
            assert user_id.to_bytes(8, "little") not in (tmp_path / name).read_bytes()
        assert describe_users(table).keys() == {2}


@pytest.mark.parametrize("page", ["identity", "state", "bucket", "names"])
def test_a_damaged_file_is_refused_and_filled_again(tmp_path: Path, page: str) -> None:
    with closing(make_table(tmp_path)) as table:
        add_users(table, range(50))
        pages = {
            "identity": 0, "state": 1, "bucket": find_page(tmp_path, 7),
            "names": table.layout.names_offset // 4096,
        }  # fmt: skip
    read_table(tmp_path)  # erases the journal, which could restore the page
    overwrite_page(tmp_path, pages[page], os.urandom(200))
    with pytest.raises(TableError) as raised:
        open_table(tmp_path)
    assert raised.value.problem == ("foreign" if page == "identity" else "damaged")
    with closing(open_current(tmp_path)) as table:
        assert describe_users(table).keys() == {99}
        assert table.state.offsets == {"refilled": True}
    assert (tmp_path / REFUSED_NAME).stat().st_size >= LIMITS.make_layout().names_offset


def test_a_bucket_that_became_zeros_is_noticed(tmp_path: Path) -> None:
    with closing(make_table(tmp_path)) as table:
        add_users(table, range(50))
    read_table(tmp_path)
    overwrite_page(tmp_path, find_page(tmp_path, 7), bytes(4096))
    with pytest.raises(TableError, match="users"):
        open_table(tmp_path)


@pytest.mark.parametrize("length", [0, 100, 70_000, -10])
def test_a_truncated_file_is_refused(tmp_path: Path, length: int) -> None:
    with closing(make_table(tmp_path)) as table:
        add_users(table, range(50))
        size = (tmp_path / TABLE_NAME).stat().st_size
        os.truncate(tmp_path / TABLE_NAME, length if length >= 0 else size + length)
        with pytest.raises(TableError, match="truncated"):
            table.commit()
    if length < 0:  # the journal has the movie ids
        assert read_table(tmp_path)[0].keys() == set(range(50))
    else:
        with pytest.raises(TableError):
            open_table(tmp_path)


def test_a_damaged_page_is_noticed_by_the_writer(tmp_path: Path) -> None:
    with closing(make_table(tmp_path)) as table:
        add_users(table, range(50))
        overwrite_page(tmp_path, find_page(tmp_path, 7), os.urandom(4096))
        with pytest.raises(TableError, match="bucket"):
            table.sweep(table.layout.buckets)
        overwrite_page(tmp_path, 0, os.urandom(4096))
        with pytest.raises(TableError):
            table.checkpoint()


@pytest.mark.parametrize(
    "limits",
    [
        LIMITS._replace(movies=2),
        LIMITS._replace(movies=2, older_movies=1),
        LIMITS._replace(movies=6),
        LIMITS._replace(older_movies=1),
        LIMITS._replace(older_movies=9),
        LIMITS._replace(max_users=900),
    ],
)
def test_a_file_with_other_limits_is_copied(tmp_path: Path, limits: TableLimits) -> None:
    with closing(make_table(tmp_path)) as table:
        add_users(table, range(50))
        for time, movie in enumerate("abcdef"):
            table.add(5, [watched(table.number_movie(movie), time=NOW + time)])
        table.number_movie("of no user")
        table.commit({"offset": 53})
        before = describe_users(table)
    with closing(open_current(tmp_path, limits)) as table:
        assert limits.is_met_by(table.layout)
        after = describe_users(table)
        # Of those that become older ones, only the number is left.
        last = min(limits.movies, LIMITS.movies)
        older = [movies[:1] for movies in before[5][last:]]
        assert after[5] == (before[5][:last] + older)[: last + limits.older_movies]
        assert {u: e for u, e in after.items() if u != 5} == {
            u: e for u, e in before.items() if u != 5
        }
        assert table.state.offsets == {"offset": 53}
        assert "of no user" not in table.movie_ids


def test_a_file_with_too_many_movie_ids_is_copied_without_those_of_no_user(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(table_writer, "MAX_MOVIES", 40)
    with closing(make_table(tmp_path)) as table:
        add_users(table, range(10))
        for number in range(30):
            table.number_movie(f"corrupted+{number}")
        with pytest.raises(NumberingFullError):
            table.number_movie("one+more")
        table.commit({"offset": 40})
    with closing(open_current(tmp_path)) as table:
        assert len(table.movie_ids) == 10
        assert describe_users(table).keys() == set(range(10))
        table.number_movie("one+more")


def test_a_crash_while_a_file_is_made_leaves_the_old_one(tmp_path: Path) -> None:
    with closing(make_table(tmp_path)) as table:
        add_users(table, range(10))

    def fail(table: TableWriter) -> dict[str, object]:
        add_users(table, range(90))
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        table_writer.create_table(tmp_path, LIMITS.make_layout(), fail)
    assert read_table(tmp_path)[0].keys() == set(range(10))


def test_records_of_an_older_file_are_not_written_to_a_new_one(tmp_path: Path) -> None:
    with closing(make_table(tmp_path)) as table:
        add_users(table, range(10))
    table_writer.create_table(tmp_path, LIMITS.make_layout(), lambda _: {})
    assert read_table(tmp_path)[0] == {}
