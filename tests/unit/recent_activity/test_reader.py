import os
import random
from collections import Counter
from contextlib import closing
from pathlib import Path

import pytest

from app.recent_activity import reader as reader_module
from app.recent_activity.reader import RecentActivityReader
from app.recent_activity.table_format import BUCKETS_OFFSET, PAGE_BYTES, TABLE_NAME, TableLayout
from app.recent_activity.table_writer import create_table, open_table
from app.recent_events import UNKNOWN_MOVIE, RecentEvent
from tests.support.recent_activity import (
    NOW,
    add_users,
    find_page,
    make_table,
    overwrite_page,
    watched,
)


@pytest.fixture(autouse=True)
def check_at_every_look_up(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(reader_module, "_CHECK_INTERVAL_SECONDS", 0.0)


def test_the_last_movies_are_read_with_the_models_numbers(tmp_path: Path) -> None:
    with closing(make_table(tmp_path)) as table:
        up, alien = table.number_movie("up+2009"), table.number_movie("alien+1979")
        table.add(7, [watched(up, minutes=30), watched(alien, 0, NOW + 1, rating=4)])
        table.add(7, [watched(table.number_movie("not+in+model"), time=NOW - 1)])
        table.commit()
        reader = RecentActivityReader(tmp_path, {"alien+1979": 12, "up+2009": 0})
        expected = (
            RecentEvent(12, 0, 4.0, NOW + 1),
            RecentEvent(0, 30, None, NOW),
            RecentEvent(UNKNOWN_MOVIE, 1, None, NOW - 1),
        )
        assert reader.get(7) == ("found", expected, ())
        assert reader.get(8) == ("none", (), ())


def test_older_movies_are_read_with_the_models_numbers(tmp_path: Path) -> None:
    names = [f"movie+{number}" for number in range(7)]
    with closing(make_table(tmp_path, movies=2, older_movies=4)) as table:
        table.add(7, [watched(table.number_movie(n), time=NOW + i) for i, n in enumerate(names)])
        table.commit()
    found = RecentActivityReader(tmp_path, {"movie+6": 60, "movie+4": 40, "movie+1": 10}).get(7)
    assert [event.movie for event in found.events] == [60, UNKNOWN_MOVIE]
    assert found.older == (40, 10)  # without those that the model does not have
    reader = RecentActivityReader(tmp_path)
    found = reader.get(7)
    movies = [*(event.movie for event in found.events), *found.older]
    assert [reader.movie_ids[movie] for movie in movies] == names[:0:-1]


def test_new_movies_of_a_commit_may_be_older_ones_at_once(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(reader_module, "_CHECK_INTERVAL_SECONDS", 3600.0)
    with closing(make_table(tmp_path, movies=2, older_movies=4)) as table:
        reader = RecentActivityReader(tmp_path)
        assert reader.get(7).state == "none"
        numbers = [table.number_movie(f"movie+{number}") for number in range(5)]
        table.add(7, [watched(number, time=NOW + number) for number in numbers])
        table.commit()
        assert reader.get(7).older == (2, 1, 0)


def test_a_commit_is_visible_at_once_with_new_movies(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(reader_module, "_CHECK_INTERVAL_SECONDS", 3600.0)
    with closing(make_table(tmp_path)) as table:
        reader = RecentActivityReader(tmp_path)
        assert reader.get(7).state == "none"
        add_users(table, [7, 8, 9])
        assert reader.movie_ids[reader.get(9).events[0].movie] == "of+9"
        assert reader.movie_ids[reader.get(7).events[0].movie] == "of+7"


def test_an_absent_file_is_opened_when_it_appears(tmp_path: Path) -> None:
    reader = RecentActivityReader(tmp_path / "recent")
    assert reader.get(7).state == "absent"
    assert not reader.age_seconds
    with closing(make_table(tmp_path / "recent")) as table:
        add_users(table, [7])
        assert reader.get(7).state == "found"
        assert 0 <= (reader.age_seconds or 0) < 60


def test_a_new_file_replaces_the_old_one_with_its_movie_ids(tmp_path: Path) -> None:
    reader = RecentActivityReader(tmp_path)
    with closing(make_table(tmp_path)) as table:
        add_users(table, [7, 8])
        assert reader.get(8).state == "found"
    create_table(tmp_path, TableLayout.create(16, 34, 1000), lambda _: {})
    assert reader.get(8).state == "none"
    with closing(open_table(tmp_path)) as table:
        add_users(table, [9, 8])
        assert reader.movie_ids[reader.get(8).events[0].movie] == "of+8"
    (tmp_path / TABLE_NAME).unlink()
    assert reader.get(8).state == "absent"


@pytest.mark.parametrize(
    ("content", "state"),
    [(b"", "damaged"), (b"SQLite format 3\0" + bytes(5000), "foreign"), (bytes(100), "damaged")],
)
def test_another_file_is_not_read(tmp_path: Path, content: bytes, state: str) -> None:
    (tmp_path / TABLE_NAME).write_bytes(content)
    assert RecentActivityReader(tmp_path).get(7).state == state


def test_a_file_of_a_later_format_is_not_read(tmp_path: Path) -> None:
    with closing(make_table(tmp_path)) as table:
        add_users(table, [7])
    page = (tmp_path / TABLE_NAME).read_bytes()[:PAGE_BYTES]
    overwrite_page(tmp_path, 0, page[:8] + b"\x09" + page[9:])
    assert RecentActivityReader(tmp_path).get(7).state == "foreign"


def test_a_directory_instead_of_the_file_is_not_read(tmp_path: Path) -> None:
    (tmp_path / TABLE_NAME).mkdir()
    assert RecentActivityReader(tmp_path).get(7).state == "damaged"


@pytest.mark.parametrize("length", [0, 5000, BUCKETS_OFFSET, BUCKETS_OFFSET + 5000])
def test_a_file_truncated_while_it_is_open_is_not_read(
    tmp_path: Path, length: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    with closing(make_table(tmp_path, max_users=5000)) as table:
        add_users(table, range(500))
    reader = RecentActivityReader(tmp_path)
    assert reader.get(7).state == "found"
    monkeypatch.setattr(reader_module, "_CHECK_INTERVAL_SECONDS", 3600.0)
    reader.refresh()  # the size is not checked again during the look-ups
    os.truncate(tmp_path / TABLE_NAME, length)
    states = Counter(reader.get(user_id).state for user_id in range(500))
    assert states.keys() <= {"damaged", "found"}
    assert states["damaged"] > 400
    assert RecentActivityReader(tmp_path).get(7).state == "damaged"


@pytest.mark.parametrize("seed", range(3))
def test_overwritten_pages_never_give_another_users_movies(tmp_path: Path, seed: int) -> None:
    chance = random.Random(seed)
    with closing(make_table(tmp_path, 1, 12, max_users=2000)) as table:
        for name in ("of+{}", "of+{}+too"):  # each user has an older movie
            for user_id in range(1500):
                table.add(user_id, [watched(table.number_movie(name.format(user_id)))])
        table.commit()
        pages = 16 + table.layout.buckets
    content = (tmp_path / TABLE_NAME).read_bytes()
    reader = RecentActivityReader(tmp_path)
    states = Counter[str]()
    for _ in range(40):
        page = chance.randrange(16, pages)
        other = chance.randrange(16, pages) * PAGE_BYTES
        shift = chance.choice([0, 0, 1, 8, 72, 120])
        data = chance.choice([
            content[other : other + PAGE_BYTES], content[other + shift :][:PAGE_BYTES],
            chance.randbytes(PAGE_BYTES), bytes(PAGE_BYTES), chance.randbytes(8),
        ])  # fmt: skip
        overwrite_page(tmp_path, page, data)
    for user_id in range(1500):
        found = reader.get(user_id)
        states[found.state] += 1
        movies = [*(event.movie for event in found.events), *found.older]
        own = [f"of+{user_id}", f"of+{user_id}+too"]
        assert [reader.movie_ids[movie] for movie in movies] in ([], own)
    assert states["found"] > 300
    assert states["damaged"] > 100


def test_a_damaged_state_or_movie_id_is_noticed(tmp_path: Path) -> None:
    with closing(make_table(tmp_path)) as table:
        add_users(table, range(50))
        names_page = table.layout.names_offset // PAGE_BYTES
    for page in (1, names_page):
        content = (tmp_path / TABLE_NAME).read_bytes()
        overwrite_page(tmp_path, page, os.urandom(300))
        assert RecentActivityReader(tmp_path).get(7).state == "damaged"
        (tmp_path / TABLE_NAME).write_bytes(content)


def test_a_damaged_entry_of_one_user_does_not_matter_to_others(tmp_path: Path) -> None:
    with closing(make_table(tmp_path)) as table:
        add_users(table, range(3))
        layout = table.layout
    reader = RecentActivityReader(tmp_path)
    page = find_page(tmp_path, 1)
    offset = page * PAGE_BYTES
    content = (tmp_path / TABLE_NAME).read_bytes()[offset : offset + PAGE_BYTES]
    user_ids = layout.unpack_directory(content, page - BUCKETS_OFFSET // PAGE_BYTES)
    assert user_ids is not None
    with (tmp_path / TABLE_NAME).open("r+b") as file:
        file.seek(offset + layout.entry_offset(user_ids.index(1)) + 20)
        file.write(b"\xff")
    assert [reader.get(user_id).state for user_id in range(3)] == ["found", "damaged", "found"]


def test_a_page_that_changes_all_the_time_is_overtaken(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with closing(make_table(tmp_path)) as table:
        add_users(table, [7])
    reader = RecentActivityReader(tmp_path)
    page = find_page(tmp_path, 7)
    assert reader.get(7).state == "found"
    read = os.preadv

    def read_then_write(*arguments: object) -> int:
        overwrite_page(tmp_path, page, os.urandom(100))  # what the next read will see
        return read(*arguments)  # type: ignore[arg-type]

    monkeypatch.setattr(os, "preadv", read_then_write)
    assert reader.get(7).state in ("overtaken", "none")
    states = {reader.get(7).state for _ in range(20)}
    assert states == {"overtaken"}


def test_a_page_that_is_not_in_memory_is_not_waited_for(tmp_path: Path) -> None:
    with closing(make_table(tmp_path)) as table:
        add_users(table, [7])
        table.checkpoint()
    reader = RecentActivityReader(tmp_path)
    assert reader.get(7).state == "found"
    with (tmp_path / TABLE_NAME).open("rb") as file:
        os.posix_fadvise(file.fileno(), 0, 0, os.POSIX_FADV_DONTNEED)
        try:
            os.preadv(file.fileno(), [bytearray(1)], find_page_offset(reader), os.RWF_NOWAIT)
            is_cached = True
        except BlockingIOError:
            is_cached = False
        except OSError as error:
            pytest.skip(f"the file system reads only with waiting: {error}")
    if is_cached:
        pytest.skip("the file system keeps its pages in memory")
    states = [reader.get(7).state]
    while states[-1] == "uncached":
        states.append(reader.get(7).state)
    assert states[-1] == "found"
    assert set(states) <= {"uncached", "found"}


def find_page_offset(reader: RecentActivityReader) -> int:
    layout = reader._layout
    return layout.bucket_offset(layout.find_buckets(7)[0])


def test_an_unexpected_error_costs_no_answer(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with closing(make_table(tmp_path)) as table:
        add_users(table, [7])
    reader = RecentActivityReader(tmp_path)

    def fail(*_: object) -> None:
        raise RuntimeError("a bug")

    for name in ("_get", "_open"):
        with monkeypatch.context() as patch:
            patch.setattr(RecentActivityReader, name, fail)
            reader.close()
            assert reader.get(7).state == "damaged"
        assert reader.get(7).state == "found"


def test_a_reader_needs_no_right_to_write(tmp_path: Path) -> None:
    with closing(make_table(tmp_path)) as table:
        add_users(table, [7])
    (tmp_path / TABLE_NAME).chmod(0o444)
    tmp_path.chmod(0o555)
    try:
        assert RecentActivityReader(tmp_path).get(7).state == "found"
    finally:
        tmp_path.chmod(0o755)
