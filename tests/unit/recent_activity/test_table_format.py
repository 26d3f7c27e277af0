import math

import pytest

from app.recent_activity.table_format import (
    EMPTY,
    NO_MINUTE,
    PAGE_BYTES,
    NewEvents,
    StoredEvent,
    StoredMovies,
    TableError,
    TableLayout,
    TableState,
    drop_expired,
    merge_events,
)
from tests.support.recent_activity import NAN, NOW, watched

#: Movie ids by number, not in the order of their numbers.
MOVIE_IDS = ["g", "f", "e", "d", "c", "b", "a"]


NOTHING = StoredMovies([], [])


def merge(
    stored: StoredMovies, added: list[NewEvents], min_time: int = 0, movies: int = 4, older: int = 2
) -> StoredMovies:
    layout = TableLayout.create(movies, older, 100)
    return merge_events(stored, added, min_time, layout, MOVIE_IDS)


def minutes_after(*watches: int) -> int:
    """Merge one event for each minute; return the number of minutes."""
    stored = NOTHING
    for minute in watches:
        new = NewEvents(1, NOW, 1, minute, minute, minute, NAN)
        stored = merge(stored, [new])
    return stored.events[0].minutes


@pytest.mark.parametrize(
    ("watches", "minutes"),
    [
        ((0, 1, 2), 3),
        ((0, 1, 2, 2, 2), 3),  # one line received several times
        ((0, 1, 2, 0, 1, 2), 3),  # watched again
        ((0, 1, 2, 0, 1, 2, 3, 4), 5),
        ((0, 1, 2, 250, 3, 4), 6),  # a corrupted minute adds one at most
        ((7,), 1),
    ],
)
def test_minutes_are_those_watched_in_order(watches: tuple[int, ...], minutes: int) -> None:
    assert minutes_after(*watches) == minutes


def test_minutes_of_one_batch_are_added_to_those_before() -> None:
    stored = merge(NOTHING, [watched(1, minutes=30)])
    stored = merge(stored, [NewEvents(1, NOW, 31, 59, 29, 59, NAN)])
    assert stored.events[0].minutes == 60


def test_a_rating_keeps_the_minutes_and_a_watch_keeps_the_rating() -> None:
    stored = merge(NOTHING, [watched(1, minutes=30)])
    stored = merge(stored, [watched(1, minutes=0, time=NOW + 5, rating=4.5)])
    assert stored.events[0][1:] == (NOW + 5, 30, 29, 29, 4.5)
    stored = merge(stored, [watched(1, minutes=0, rating=2)])
    stored = merge(stored, [NewEvents(1, NOW, 1, 30, 30, 30, NAN)])
    assert stored.events[0][1:] == (NOW + 5, 31, 30, 30, 2.0)


def test_the_newest_movies_stay_and_of_older_ones_the_numbers() -> None:
    added = [watched(movie, time=NOW + movie) for movie in (3, 0, 1, 2, 5, 4)]
    assert numbers(merge(NOTHING, added, movies=3)) == ([5, 4, 3], [2, 1])
    assert numbers(merge(NOTHING, added, movies=3, older=0)) == ([5, 4, 3], [])
    assert numbers(merge(NOTHING, added, NOW + 5)) == ([5], [])


def numbers(movies: StoredMovies) -> tuple[list[int], list[int]]:
    return [event.movie for event in movies.events], movies.older


def test_movies_of_one_time_are_in_the_order_of_their_ids() -> None:
    added = [watched(movie) for movie in (3, 1, 2, 5, 4)]
    for events in (added, added[::-1]):
        found, older = numbers(merge(NOTHING, events, movies=3))
        assert [MOVIE_IDS[movie] for movie in found + older] == ["b", "c", "d", "e", "f"]


def test_an_older_movie_watched_again_is_one_of_the_last_ones_again() -> None:
    stored = merge(NOTHING, [watched(m, 30, NOW + m, 4) for m in range(5)], movies=3, older=3)
    assert numbers(stored) == ([4, 3, 2], [1, 0])
    stored = merge(stored, [watched(0, minutes=2, time=NOW + 9)], movies=3, older=3)
    assert numbers(stored) == ([0, 4, 3], [2, 1])
    assert stored.events[0][1:5] == (NOW + 9, 2, 1, 1)  # nothing is left of what was known before
    assert math.isnan(stored.events[0].rating)
    late = merge(stored, [watched(1, time=NOW + 1)], movies=3, older=3)
    assert numbers(late) == ([0, 4, 3], [1, 2])  # a late line, older than all of the last ones


def test_the_oldest_movie_is_dropped_first() -> None:
    stored = NOTHING
    for movie in range(7):
        stored = merge(stored, [watched(movie, time=NOW + movie)], movies=2, older=3)
    assert numbers(stored) == ([6, 5], [4, 3, 2])


def test_older_movies_expire_with_the_first_of_the_last_ones() -> None:
    stored = merge(NOTHING, [watched(m, time=NOW + m) for m in range(5)], movies=3)
    assert numbers(stored) == ([4, 3, 2], [1, 0])
    assert drop_expired(stored, NOW + 2) is stored
    assert numbers(drop_expired(stored, NOW + 3)) == ([4, 3], [])
    # Also where that one has an event again.
    added = [watched(2, time=NOW + 9)]
    assert numbers(merge(stored, added, NOW + 2, movies=3)) == ([2, 4, 3], [1, 0])
    assert numbers(merge(stored, added, NOW + 3, movies=3)) == ([2, 4, 3], [])
    # A line that has expired itself changes nothing.
    assert merge(stored, [watched(1, time=NOW)], NOW + 2, movies=3) == stored


def test_a_bucket_is_read_as_it_was_written() -> None:
    layout = TableLayout.create(4, 3, 100)
    events = [StoredEvent(7, NOW, 9, 12, 3, 4.5), StoredEvent(8, 1, 0, 0, NO_MINUTE, NAN)]
    for older in ([], [4_000_000_000, 0], [1, 2, 3]):
        page = layout.pack_directory(1, [5] + [EMPTY] * (layout.users_per_bucket - 1))
        page = (page + layout.pack_entry(5, StoredMovies(events, older))).ljust(PAGE_BYTES, b"\0")
        assert (layout.unpack_directory(page, 1) or ())[:2] == (5, EMPTY)
        read = layout.unpack_entry(page, 0, 5)
        assert read is not None
        assert read.events[0] == events[0]
        assert math.isnan(read.events[1].rating)
        assert read.older == older
        assert layout.count_users(page, 1) == 1


def test_damaged_or_foreign_bytes_are_not_taken_for_a_users() -> None:
    layout = TableLayout.create(4, 3, 100)
    movies = StoredMovies([StoredEvent(7, NOW, 9, 12, 3, 4)], [8, 9])
    page = layout.pack_directory(0, [5] + [EMPTY] * (layout.users_per_bucket - 1))
    page = (page + layout.pack_entry(5, movies)).ljust(PAGE_BYTES)
    assert layout.unpack_entry(page, 0, 6) is None
    assert layout.unpack_directory(page, 1) is None
    other = TableLayout(layout.file_id + 1, 4, 3, layout.buckets)
    assert other.unpack_entry(page, 0, 5) is None
    for at in range(layout.directory_bytes + layout.entry_bytes):
        damaged = bytearray(page)
        damaged[at] ^= 4
        assert layout.count_users(damaged, 0) is None, at


def test_a_bucket_of_zeros_is_empty() -> None:
    layout = TableLayout.create(4, 3, 100)
    assert layout.count_users(bytes(PAGE_BYTES), 3) == 0
    assert set(layout.unpack_directory(bytes(PAGE_BYTES), 3) or ()) == {EMPTY}


def test_a_user_has_two_different_buckets() -> None:
    for buckets in (2, 3, 1000):
        layout = TableLayout(12345, 4, 3, buckets)
        pairs = [layout.find_buckets(user_id) for user_id in range(2000)]
        assert all(0 <= a < buckets and 0 <= b < buckets and a != b for a, b in pairs)
        assert {bucket for pair in pairs for bucket in pair} >= set(range(3)) & set(range(buckets))


def test_the_first_page_is_checked() -> None:
    layout = TableLayout.create(16, 34, 1000)
    page = layout.pack_identity()
    read = TableLayout.unpack_identity(page)
    assert (read.file_id, read.movies_per_user, read.older_per_user, read.buckets) == (
        layout.file_id, 16, 34, layout.buckets
    )  # fmt: skip
    for damaged, problem in (
        (b"other" + page[5:], "foreign"),
        (page[:8] + b"\x03" + page[9:], "foreign"),  # format 3
        (page[:8] + b"\x01" + page[9:], "foreign"),  # the earlier one
        (page[:20] + b"\xff" + page[21:], "damaged"),
        (page[:100], "damaged"),
    ):
        with pytest.raises(TableError) as raised:
            TableLayout.unpack_identity(damaged)
        assert raised.value.problem == problem


def test_a_state_is_read_as_it_was_written() -> None:
    state = TableState(sequence=7, users=2, offsets={"movielog-0": {"topic": "t", "offset": 9}})
    packed = state.pack(1)
    assert TableState.unpack(packed + b"rest", 1) == state
    assert TableState.unpack(packed, 2) is None
    assert TableState.unpack(packed[:-1], 1) is None
    assert TableState.unpack(b"", 1) is None


def test_movie_ids_are_checked() -> None:
    layout = TableLayout.create(16, 34, 1000)
    names = [f"movie+{number}+2009" for number in range(9)]
    packed = b"".join(layout.pack_name(5 + n, name) for n, name in enumerate(names))
    assert layout.unpack_names(packed, 5) == names
    for damaged, first in ((packed, 6), (packed[:-1], 5), (packed[:-1] + b"x", 5)):
        with pytest.raises(TableError):
            layout.unpack_names(damaged, first)
