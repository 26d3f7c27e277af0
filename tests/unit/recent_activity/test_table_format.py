import math

import pytest

from app.recent_activity.table_format import (
    EMPTY,
    NO_MINUTE,
    PAGE_BYTES,
    NewEvents,
    StoredEvent,
    TableError,
    TableLayout,
    TableState,
    merge_events,
)
from tests.support.recent_activity import NAN, NOW, watched

#: Movie ids by number, not in the order of their numbers.
MOVIE_IDS = ["g", "f", "e", "d", "c", "b", "a"]


def minutes_after(*watches: int) -> int:
    """Merge one event for each minute; return the number of minutes."""
    stored: list[StoredEvent] = []
    for minute in watches:
        new = NewEvents(1, NOW, 1, minute, minute, minute, NAN)
        stored = merge_events(stored, [new], 0, 4, MOVIE_IDS)
    return stored[0].minutes


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
    stored = merge_events([], [watched(1, minutes=30)], 0, 4, MOVIE_IDS)
    stored = merge_events(stored, [NewEvents(1, NOW, 31, 59, 29, 59, NAN)], 0, 4, MOVIE_IDS)
    assert stored[0].minutes == 60


def test_a_rating_keeps_the_minutes_and_a_watch_keeps_the_rating() -> None:
    stored = merge_events([], [watched(1, minutes=30)], 0, 4, MOVIE_IDS)
    stored = merge_events(
        stored, [watched(1, minutes=0, time=NOW + 5, rating=4.5)], 0, 4, MOVIE_IDS
    )
    assert stored[0][1:] == (NOW + 5, 30, 29, 29, 4.5)
    stored = merge_events(stored, [watched(1, minutes=0, rating=2)], 0, 4, MOVIE_IDS)
    stored = merge_events(stored, [NewEvents(1, NOW, 1, 30, 30, 30, NAN)], 0, 4, MOVIE_IDS)
    assert stored[0][1:] == (NOW + 5, 31, 30, 30, 2.0)


def test_the_newest_movies_stay() -> None:
    added = [watched(movie, time=NOW + movie) for movie in (3, 1, 2, 5, 4)]
    assert [e.movie for e in merge_events([], added, 0, 3, MOVIE_IDS)] == [5, 4, 3]
    assert [e.movie for e in merge_events([], added, NOW + 5, 3, MOVIE_IDS)] == [5]


def test_movies_of_one_time_are_in_the_order_of_their_ids() -> None:
    added = [watched(movie) for movie in (3, 1, 2, 5)]
    for events in (added, added[::-1]):
        found = merge_events([], events, 0, 3, MOVIE_IDS)
        assert [MOVIE_IDS[event.movie] for event in found] == ["b", "d", "e"]


def test_a_bucket_is_read_as_it_was_written() -> None:
    layout = TableLayout.create(4, 100)
    events = [StoredEvent(7, NOW, 9, 12, 3, 4.5), StoredEvent(8, 1, 0, 0, NO_MINUTE, NAN)]
    page = layout.pack_directory(1, [5] + [EMPTY] * (layout.users_per_bucket - 1))
    page = (page + layout.pack_entry(5, events)).ljust(PAGE_BYTES, b"\0")
    assert (layout.unpack_directory(page, 1) or ())[:2] == (5, EMPTY)
    read = layout.unpack_entry(page, 0, 5)
    assert read is not None
    assert read[0] == events[0]
    assert math.isnan(read[1].rating)
    assert layout.count_users(page, 1) == 1


def test_damaged_or_foreign_bytes_are_not_taken_for_a_users() -> None:
    layout = TableLayout.create(4, 100)
    page = layout.pack_directory(0, [5] + [EMPTY] * (layout.users_per_bucket - 1))
    page = (page + layout.pack_entry(5, [StoredEvent(7, NOW, 9, 12, 3, 4)])).ljust(PAGE_BYTES)
    assert layout.unpack_entry(page, 0, 6) is None
    assert layout.unpack_directory(page, 1) is None
    other = TableLayout(layout.file_id + 1, 4, layout.buckets)
    assert other.unpack_entry(page, 0, 5) is None
    for at in range(layout.directory_bytes + layout.entry_bytes):
        damaged = bytearray(page)
        damaged[at] ^= 4
        assert layout.count_users(damaged, 0) is None, at


def test_a_bucket_of_zeros_is_empty() -> None:
    layout = TableLayout.create(4, 100)
    assert layout.count_users(bytes(PAGE_BYTES), 3) == 0
    assert set(layout.unpack_directory(bytes(PAGE_BYTES), 3) or ()) == {EMPTY}


def test_a_user_has_two_different_buckets() -> None:
    for buckets in (2, 3, 1000):
        layout = TableLayout(12345, 4, buckets)
        pairs = [layout.find_buckets(user_id) for user_id in range(2000)]
        assert all(0 <= a < buckets and 0 <= b < buckets and a != b for a, b in pairs)
        assert {bucket for pair in pairs for bucket in pair} >= set(range(3)) & set(range(buckets))


def test_the_first_page_is_checked() -> None:
    layout = TableLayout.create(16, 1000)
    page = layout.pack_identity()
    assert vars(TableLayout.unpack_identity(page))["file_id"] == layout.file_id
    for damaged, problem in (
        (b"other" + page[5:], "foreign"),
        (page[:8] + b"\x02" + page[9:], "foreign"),  # format 2
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
    layout = TableLayout.create(16, 1000)
    names = [f"movie+{number}+2009" for number in range(9)]
    packed = b"".join(layout.pack_name(5 + n, name) for n, name in enumerate(names))
    assert layout.unpack_names(packed, 5) == names
    for damaged, first in ((packed, 6), (packed[:-1], 5), (packed[:-1] + b"x", 5)):
        with pytest.raises(TableError):
            layout.unpack_names(damaged, first)
