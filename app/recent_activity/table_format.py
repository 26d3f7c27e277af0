"""The file of recent activity: its layout, checksums, and the conversion of its parts.

The file has a part that never changes (identity), one that every commit replaces (state), a hash
table of buckets of 4096 bytes, and the ids of the movies, to which only is appended:

    offset 0        identity: magic, format, id of the file, sizes
    offset 4096     state: checksum, length, JSON (positions, counts, time of the commit)
    offset 65536    buckets of 4096 bytes, each a directory of user ids and as many entries
    after them      movie ids in the order of their numbers: checksum, length, UTF-8

A user is in one of two buckets, which follow from the user id. An entry holds a checksum, the
user's id and last movies (16 bytes each), and of the movies before them the numbers alone (4 bytes
each). The checksum is that of the whole entry and begins with the id of the file. So bytes that are
damaged, half written, of another user or of another file are never taken for a user's. A bucket of
zeros is empty, so that the file takes up disk space only where there are users.

All numbers are little-endian. The size of the file never decreases.
"""

import json
import os
import struct
import time
import zlib
from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass, field, fields
from math import isnan
from typing import Any, Literal, NamedTuple

from app.cli_errors import MarqueeError

MAGIC = b"MARQACTV"
#: 1 had no older movies.
FORMAT = 2
TABLE_NAME = "activity.table"
PAGE_BYTES = 4096
STATE_OFFSET = 4096
MAX_STATE_BYTES = 61_440
BUCKETS_OFFSET = 65_536
#: Users for whom a table is made, as a share of its places. A user is added to the emptier one of
#: two buckets; with this share and 9 places in a bucket, 700 of a million find both full.
_MAX_LOAD = 0.85
#: A directory entry without a user.
EMPTY = -1
#: `last_minute` of a movie that was only rated.
NO_MINUTE = 0xFFFF
_MAX_TIME = 0xFFFFFFFF
_MAX_COUNT = 0xFFFE

_IDENTITY = struct.Struct("<8sIQHHHII")
_CHECKSUM = struct.Struct("<I")
_STATE_HEAD = struct.Struct("<II")
_DIRECTORY_HEAD = struct.Struct("<II")
_ENTRY_HEAD = struct.Struct("<IHHq")
_EVENT = struct.Struct("<IIHHHe")
_NAME_HEAD = struct.Struct("<IB")

pack_user_id = struct.Struct("<q").pack

_MASK = 0xFFFFFFFFFFFFFFFF
_ZEROS = bytes(PAGE_BYTES)

Problem = Literal["absent", "foreign", "damaged"]


class TableError(MarqueeError):
    """The file cannot be used.

    Attributes:
        problem: there is none, it has another format, or its content is not what was written.
    """

    def __init__(self, problem: Problem, message: str) -> None:
        super().__init__(message)
        self.problem: Problem = problem


class StoredEvent(NamedTuple):
    """One of a user's last movies, as stored.

    Attributes:
        movie: number of the movie in the file's own numbering.
        time: time of the newest event, in seconds since 1970; the log's local time counts as UTC.
        minutes: number of different minutes watched, see `merge_events`; 0: only rated.
        max_minute: the highest minute watched.
        last_minute: the minute watched last, or `NO_MINUTE`.
        rating: the newest rating, rounded to 11 bits; NaN without one.
    """

    movie: int
    time: int
    minutes: int
    max_minute: int
    last_minute: int
    rating: float


class StoredMovies(NamedTuple):
    """What the file has of one user.

    Attributes:
        events: the last movies, newest first.
        older: numbers of the movies before them in the file's own numbering, newest first. Nothing
            else is known of them.
    """

    events: list[StoredEvent]
    older: list[int]


class TableLayout:
    """The sizes and offsets of one file, and the conversion of buckets.

    Attributes:
        file_id: random number of 64 bits; the same in all checksums of the file.
        movies_per_user: events of an entry.
        older_per_user: older movies of an entry.
        buckets: number of buckets.
        users_per_bucket: number of entries of a bucket.
        names_offset: where the movie ids begin; the smallest size of the file.
    """

    def __init__(
        self, file_id: int, movies_per_user: int, older_per_user: int, buckets: int
    ) -> None:
        self.file_id = file_id
        self.movies_per_user = movies_per_user
        self.older_per_user = older_per_user
        self.buckets = buckets
        self._older = struct.Struct(f"<{older_per_user}I")
        self._older_offset = _ENTRY_HEAD.size + movies_per_user * _EVENT.size
        self.entry_bytes = self._older_offset + self._older.size
        self.users_per_bucket = (PAGE_BYTES - _DIRECTORY_HEAD.size) // (self.entry_bytes + 8)
        self.directory_bytes = _DIRECTORY_HEAD.size + 8 * self.users_per_bucket
        self.names_offset = BUCKETS_OFFSET + buckets * PAGE_BYTES
        self.seed = zlib.crc32(file_id.to_bytes(8, "little"))
        self._ids = struct.Struct(f"<{self.users_per_bucket}q")
        self._empty_directory = bytes(self.directory_bytes)
        self._no_users = (EMPTY,) * self.users_per_bucket

    @classmethod
    def create(cls, movies_per_user: int, older_per_user: int, max_users: int) -> "TableLayout":
        """Return the layout of a new file for so many users."""
        per_bucket = cls(0, movies_per_user, older_per_user, 1).users_per_bucket
        buckets = max(2, -int(-max_users // (per_bucket * _MAX_LOAD)))
        file_id = int.from_bytes(os.urandom(8), "little")
        return cls(file_id, movies_per_user, older_per_user, buckets)

    def is_for(self, movies_per_user: int, older_per_user: int, max_users: int) -> bool:
        """Return whether a new file with these limits would have these sizes."""
        other = TableLayout.create(movies_per_user, older_per_user, max_users)
        return self._sizes() == other._sizes()

    def _sizes(self) -> tuple[int, int, int, int, int]:
        """Return the sizes that the first page holds."""
        return (
            self.movies_per_user,
            self.older_per_user,
            self.users_per_bucket,
            self.buckets,
            self.names_offset >> 12,
        )

    def pack_identity(self) -> bytes:
        """Return the first page of the file."""
        packed = _IDENTITY.pack(MAGIC, FORMAT, self.file_id, *self._sizes())
        return (packed + _CHECKSUM.pack(zlib.crc32(packed))).ljust(PAGE_BYTES, b"\0")

    @classmethod
    def unpack_identity(cls, page: bytes) -> "TableLayout":
        """Return the layout of a file from its first page.

        Raises:
            TableError: it is no such file, has another format, or is damaged.
        """
        if len(page) < PAGE_BYTES:
            raise TableError("damaged", "the file is shorter than a page")
        magic, number, file_id, *sizes = _IDENTITY.unpack_from(page)
        if magic != MAGIC:
            raise TableError("foreign", "this is no file of recent activity")
        if number != FORMAT:
            raise TableError("foreign", f"the file has format {number}, this is format {FORMAT}")
        if _CHECKSUM.unpack_from(page, _IDENTITY.size)[0] != zlib.crc32(page[: _IDENTITY.size]):
            raise TableError("damaged", "the checksum of the first page is wrong")
        movies, older, _, buckets, _ = sizes
        layout = cls(file_id, movies, older, buckets)
        if layout._sizes() != tuple(sizes):
            raise TableError("damaged", "the sizes in the first page contradict each other")
        return layout

    def find_buckets(self, user_id: int) -> tuple[int, int]:
        """Return the two buckets of a user."""
        mixed = ((user_id ^ self.file_id) * 0x9E3779B97F4A7C15) & _MASK
        mixed = ((mixed ^ (mixed >> 29)) * 0xBF58476D1CE4E5B9) & _MASK
        mixed ^= mixed >> 32
        buckets = self.buckets
        first = ((mixed & 0xFFFFFFFF) * buckets) >> 32
        second = ((mixed >> 32) * (buckets - 1)) >> 32
        return first, second + (second >= first)

    def bucket_offset(self, bucket: int) -> int:
        """Return where a bucket begins in the file."""
        return BUCKETS_OFFSET + bucket * PAGE_BYTES

    def entry_offset(self, slot: int) -> int:
        """Return where an entry begins in its bucket."""
        return self.directory_bytes + slot * self.entry_bytes

    def unpack_directory(self, page: bytes | bytearray, bucket: int) -> tuple[int, ...] | None:
        """Return the user ids of a bucket (`EMPTY` where there is none); None if damaged."""
        directory = page[: self.directory_bytes]
        checksum, number = _DIRECTORY_HEAD.unpack_from(directory)
        if checksum == zlib.crc32(directory[4:], self.seed) and number == bucket:
            return self._ids.unpack_from(directory, _DIRECTORY_HEAD.size)
        return self._no_users if directory == self._empty_directory else None

    def lacks_user(self, page: bytes | bytearray, bucket: int, packed_user_id: bytes) -> bool:
        """Return whether a bucket is intact and without a user; False if that is not certain."""
        directory = page[: self.directory_bytes]
        if packed_user_id in directory:
            return False
        if directory == self._empty_directory:
            return True
        checksum, number = _DIRECTORY_HEAD.unpack_from(directory)
        return bool(number == bucket and checksum == zlib.crc32(directory[4:], self.seed))

    def pack_directory(self, bucket: int, user_ids: Sequence[int]) -> bytes:
        """Return the directory of a bucket."""
        body = bucket.to_bytes(4, "little") + self._ids.pack(*user_ids)
        return _CHECKSUM.pack(zlib.crc32(body, self.seed)) + body

    def unpack_entry(self, page: bytes | bytearray, slot: int, user_id: int) -> StoredMovies | None:
        """Return the movies of a user; None if damaged or another user's."""
        fields = self.unpack_fields(page, slot, user_id)
        if fields is None:
            return None
        return StoredMovies(list(map(StoredEvent._make, fields[0])), list(fields[1]))

    def unpack_fields(
        self, page: bytes | bytearray, slot: int, user_id: int
    ) -> tuple[Iterator[tuple[Any, ...]], tuple[int, ...]] | None:
        """Return what `unpack_entry` does, with tuples of the fields of `StoredEvent`."""
        entry = self._read_entry(page, slot)
        counts = self._count_movies(entry, user_id)
        if counts is None:
            return None
        count, older = counts
        events = entry[_ENTRY_HEAD.size : _ENTRY_HEAD.size + count * _EVENT.size]
        numbers = self._older.unpack_from(entry, self._older_offset)[:older] if older else ()
        return _EVENT.iter_unpack(events), numbers

    def _read_entry(self, page: bytes | bytearray, slot: int) -> bytes | bytearray:
        offset = self.entry_offset(slot)
        return page[offset : offset + self.entry_bytes]

    def _count_movies(self, entry: bytes | bytearray, user_id: int) -> tuple[int, int] | None:
        """Return the number of events and of older movies; None if damaged or another user's."""
        checksum, count, older, owner = _ENTRY_HEAD.unpack_from(entry)
        if owner != user_id or checksum != zlib.crc32(entry[4:], self.seed):
            return None
        if count > self.movies_per_user or older > self.older_per_user:
            return None
        return count, older

    def pack_entry(self, user_id: int, movies: StoredMovies) -> bytes:
        """Return the entry of a user."""
        events, older = movies
        head = _ENTRY_HEAD.pack(0, len(events), len(older), user_id)
        packed = b"".join([head[4:], *[_EVENT.pack(*event) for event in events]])
        if older:
            packed = packed.ljust(self._older_offset - 4, b"\0")
            packed += struct.pack(f"<{len(older)}I", *older)
        body = packed.ljust(self.entry_bytes - 4, b"\0")
        return _CHECKSUM.pack(zlib.crc32(body, self.seed)) + body

    def limit(self, events: list[StoredEvent], older: Sequence[int] = ()) -> StoredMovies:
        """Return as many of a user's movies as an entry holds.

        Args:
            events: the last movies, newest first: those that are too many become older ones.
            older: those before them, newest first; the last ones are dropped.
        """
        count = self.movies_per_user
        if len(events) <= count and not older:
            return StoredMovies(events, [])
        numbers = [event.movie for event in events[count:]]
        numbers += older
        return StoredMovies(events[:count], numbers[: self.older_per_user])

    def newest_time(self, page: bytes | bytearray, slot: int) -> int:
        """Return the time of an entry's newest event without checking the entry."""
        time_offset = self.entry_offset(slot) + _ENTRY_HEAD.size + 4
        return int.from_bytes(page[time_offset : time_offset + 4], "little")

    def count_users(self, page: bytes | bytearray, bucket: int) -> int | None:
        """Return the number of users of a bucket; None if the directory or an entry is damaged."""
        if page == _ZEROS:
            return 0
        user_ids = self.unpack_directory(page, bucket)
        if user_ids is None:
            return None
        owned = [(slot, user_id) for slot, user_id in enumerate(user_ids) if user_id != EMPTY]
        counts = [self._count_movies(self._read_entry(page, slot), owner) for slot, owner in owned]
        return None if None in counts else len(owned)

    def pack_name(self, number: int, movie_id: str) -> bytes:
        """Return a movie id as stored."""
        encoded = movie_id.encode()
        return _NAME_HEAD.pack(self._name_checksum(number, encoded), len(encoded)) + encoded

    def unpack_names(self, packed: bytes, first_number: int) -> list[str]:
        """Return movie ids, of which the first has the number `first_number`.

        Raises:
            TableError: one is damaged or incomplete.
        """
        names, end = self.unpack_whole_names(packed, first_number)
        if end < len(packed):
            raise TableError("damaged", "the movie ids end within one")
        return names

    def unpack_whole_names(self, packed: bytes, first_number: int) -> tuple[list[str], int]:
        """Return the movie ids that are complete, and where the last one of them ends.

        Raises:
            TableError: one is damaged.
        """
        names: list[str] = []
        offset = 0
        while offset + _NAME_HEAD.size <= len(packed):
            checksum, length = _NAME_HEAD.unpack_from(packed, offset)
            start = offset + _NAME_HEAD.size
            if start + length > len(packed):
                break
            encoded = packed[start : start + length]
            if checksum != self._name_checksum(first_number + len(names), encoded):
                raise TableError("damaged", "the checksum of a movie id is wrong")
            names.append(encoded.decode())
            offset = start + length
        return names, offset

    def _name_checksum(self, number: int, encoded: bytes) -> int:
        return zlib.crc32(encoded, zlib.crc32(number.to_bytes(4, "little"), self.seed))


@dataclass
class TableState:
    """What one commit replaces.

    Attributes:
        sequence: number of the commit.
        committed_at: when it was made, in seconds since 1970.
        newest_time: time of the newest events, as `StoredEvent.time`; from it age is counted.
        users: users with events.
        movies: movie ids in the file.
        name_bytes: size of the movie ids.
        first_movies: movie ids of the new file.
        offsets: where to continue reading the stream, as the consumer wrote it.
    """

    sequence: int = 0
    committed_at: float = 0.0
    newest_time: int = 0
    users: int = 0
    movies: int = 0
    name_bytes: int = 0
    first_movies: int = 0
    offsets: dict[str, Any] = field(default_factory=dict)

    def pack(self, seed: int) -> bytes:
        """Return the state as stored.

        Raises:
            TableError: the positions of too many partitions.
        """
        body = json.dumps(asdict(self)).encode()
        if len(body) + _STATE_HEAD.size > MAX_STATE_BYTES:
            raise TableError("foreign", "the stream has too many partitions for this file")
        return _STATE_HEAD.pack(zlib.crc32(body, seed), len(body)) + body

    @classmethod
    def unpack(cls, packed: bytes, seed: int) -> "TableState | None":
        """Return a stored state; None if it is damaged."""
        if len(packed) < _STATE_HEAD.size:
            return None
        checksum, length = _STATE_HEAD.unpack_from(packed)
        body = packed[_STATE_HEAD.size : _STATE_HEAD.size + length]
        if len(body) < length or zlib.crc32(body, seed) != checksum:
            return None
        values = json.loads(body)
        return cls(**{item.name: values[item.name] for item in fields(cls)})


class NewEvents(NamedTuple):
    """Events of one user and movie that are not stored yet.

    Attributes:
        movie: number of the movie in the file's numbering.
        time: as in `StoredEvent`.
        minutes: number of different minutes.
        max_minute: the highest minute.
        first_minute: the first minute, or `NO_MINUTE`.
        last_minute: the last minute, or `NO_MINUTE`.
        rating: the newest rating, or NaN.
    """

    movie: int
    time: int
    minutes: int
    max_minute: int
    first_minute: int
    last_minute: int
    rating: float


def drop_expired(movies: StoredMovies, min_time: int) -> StoredMovies:
    """Return the movies of a user without those that have expired.

    Older movies have no time of their own. They were watched before every event of the entry, so
    all of them have expired when one of these has.

    Args:
        movies: what is stored.
        min_time: events before it have expired.
    """
    if not movies.events or movies.events[-1].time >= min_time:
        return movies
    return StoredMovies([event for event in movies.events if event.time >= min_time], [])


def merge_events(
    stored: StoredMovies,
    added: Sequence[NewEvents],
    min_time: int,
    layout: TableLayout,
    movie_ids: Sequence[str],
) -> StoredMovies:
    """Return the newest movies of a user, newest first; those of one time by movie id.

    An older movie that is watched again is one of the last movies again. Of what was known before,
    only that it was watched remains: its minutes and rating begin anew.

    The minutes themselves are not stored. A minute other than the one before counts as another
    one, and there are never more than the highest minute allows: so the number is exact for
    a user who watches in order, also when a movie is watched again from its beginning.

    Args:
        stored: the movies of the entry.
        added: new events, in the order of the log.
        min_time: movies with no newer event are left out, see `drop_expired`.
        layout: how many movies an entry holds.
        movie_ids: movie id by number.
    """
    movies = {event.movie: event for event in stored.events}
    for new in added:
        old = movies.get(new.movie)
        movies[new.movie] = _merge(old, new) if old else _merge(_no_event(new.movie), new)
    newest = [event for event in movies.values() if event.time >= min_time]
    newest.sort(key=lambda event: (-event.time, movie_ids[event.movie]))
    older = stored.older and drop_expired(stored, min_time).older
    if older:
        again = {event.movie for event in added if event.time >= min_time}
        older = [movie for movie in older if movie not in again]
    return layout.limit(newest, older)


def _no_event(movie: int) -> StoredEvent:
    return StoredEvent(movie, 0, 0, 0, NO_MINUTE, float("nan"))


def _merge(old: StoredEvent, new: NewEvents) -> StoredEvent:
    event_time = min(max(old.time, new.time), _MAX_TIME)
    rating = old.rating if isnan(new.rating) else new.rating
    if not new.minutes:
        return old._replace(time=event_time, rating=rating)
    max_minute = max(old.max_minute, new.max_minute)
    total = old.minutes + new.minutes - (new.first_minute == old.last_minute)
    minutes = min(total, max_minute + 1, _MAX_COUNT)
    return StoredEvent(old.movie, event_time, minutes, max_minute, new.last_minute, rating)


def read_at(descriptor: int, offset: int, length: int) -> bytes:
    """Read bytes at an offset; fewer at the end of the file."""
    parts = []
    while length:
        part = os.pread(descriptor, length, offset)
        if not part:
            break
        parts.append(part)
        offset += len(part)
        length -= len(part)
    return b"".join(parts)


def read_layout(descriptor: int) -> TableLayout:
    """Read the layout of an open file.

    Raises:
        TableError: it is no such file, has another format, or is damaged or too short.
    """
    layout = TableLayout.unpack_identity(read_at(descriptor, 0, PAGE_BYTES))
    if os.fstat(descriptor).st_size < layout.names_offset:
        raise TableError("damaged", "the file is shorter than its first page says")
    return layout


def read_state(descriptor: int, layout: TableLayout, attempts: int = 3) -> TableState:
    """Read the state of the last commit; again while a commit replaces it.

    Raises:
        TableError: it is damaged.
    """
    for _ in range(attempts):
        state = TableState.unpack(read_at(descriptor, STATE_OFFSET, MAX_STATE_BYTES), layout.seed)
        if state is not None:
            return state
        time.sleep(0)  # lets the writer go on
    raise TableError("damaged", "the checksum of the state is wrong")
