"""Write the file of recent activity: changes in memory, and commits through the journal.

There is one writer, which holds the lock of the directory. A commit writes a record of the journal,
syncs it, and then writes the file, which is synced only by a checkpoint. Readers see the changes of
a commit one after the other; each user's entry carries a checksum.
"""

import errno
import os
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import suppress
from pathlib import Path
from typing import Any

from app.atomic_files import fsync
from app.cli_errors import MarqueeError
from app.recent_activity.journal import JOURNAL_NAME, Journal, Write, write_at
from app.recent_activity.table_format import (
    BUCKETS_OFFSET,
    EMPTY,
    PAGE_BYTES,
    STATE_OFFSET,
    TABLE_NAME,
    NewEvents,
    StoredMovies,
    TableError,
    TableLayout,
    TableState,
    drop_expired,
    merge_events,
    read_at,
    read_layout,
    read_state,
)

#: A file that was refused, kept for examination.
REFUSED_NAME = "activity.refused"
_NEW_NAME = ".activity.new"
#: A commit that makes the journal longer syncs the file.
_MAX_JOURNAL_BYTES = 32 << 20
_CHECKPOINT_INTERVAL_SECONDS = 300.0
#: Buckets of a new file that are held in memory before they are written.
_MAX_BULK_BUCKETS = 4096
#: Bytes of the file that are requested at a time: the kernel may read no more for one request.
_REQUESTED_BYTES = 131_072
#: Buckets that are read at a time to check them.
_CHECKED_BUCKETS = 256
#: Movie ids of a file; corrupted ids would otherwise add up without end.
MAX_MOVIES = 1_000_000


class NumberingFullError(MarqueeError):
    """The file has too many movie ids, most of which no user has any more."""

    def __init__(self) -> None:
        super().__init__("the file has too many movie ids; it is copied when it is opened again")


class TableWriter:
    """An open file and its changes that are not committed yet.

    Attributes:
        layout: the sizes of the file.
        state: the last commit.
        retention_seconds: events that are older than the newest by more than this are dropped.
        expired_users: users removed because of their age.
        displaced_users: users removed because both of their buckets were full.
    """

    def __init__(
        self, descriptor: int, layout: TableLayout, state: TableState, journal: Journal | None
    ) -> None:
        """Read the movie ids of an open file.

        Args:
            descriptor: opened for reading and writing; closed with the writer.
            layout: its layout.
            state: its state.
            journal: None for a new file, which is synced as a whole.

        Raises:
            TableError: the movie ids are damaged.
        """
        self.layout = layout
        self.state = state
        self.retention_seconds = 0
        self.expired_users = self.displaced_users = 0
        self._descriptor = descriptor
        self._journal = journal
        packed = read_at(descriptor, layout.names_offset, state.name_bytes)
        self._movie_ids = layout.unpack_names(packed, 0)
        self._numbers = {name: number for number, name in enumerate(self._movie_ids)}
        if len(self._movie_ids) != state.movies:
            raise TableError("damaged", "the file has other movie ids than its state says")
        self._new_names: list[bytes] = []
        self._users = state.users
        self._newest_time = state.newest_time
        self._pages: dict[int, bytearray] = {}
        #: Changed parts of buckets: (bucket, slot); slot -1 is the directory.
        self._changed: dict[tuple[int, int], None] = {}
        self._sweep_at = 0
        self._checkpoint_at = time.monotonic() + _CHECKPOINT_INTERVAL_SECONDS

    def close(self) -> None:
        """Close the file without its uncommitted changes."""
        os.close(self._descriptor)
        if self._journal:
            self._journal.close()

    @property
    def size_bytes(self) -> int:
        """Disk space of the file in bytes."""
        return os.fstat(self._descriptor).st_blocks * 512

    @property
    def movie_ids(self) -> list[str]:
        """All movie ids; the index is the number."""
        return list(self._movie_ids)

    @property
    def min_time(self) -> int:
        """Time before which events have expired."""
        return max(0, self._newest_time - self.retention_seconds) if self.retention_seconds else 0

    @property
    def users(self) -> int:
        """Users with events, uncommitted changes included."""
        return self._users

    @property
    def has_changes(self) -> bool:
        """Whether there are changes that are not committed yet."""
        return bool(self._changed or self._new_names)

    @property
    def is_numbering_full(self) -> bool:
        """Whether the file takes no more movie ids; a new one takes those of all its users."""
        limit = max(MAX_MOVIES, 2 * self.state.first_movies)
        return self._journal is not None and len(self._numbers) >= limit

    def number_movie(self, movie_id: str) -> int:
        """Return the number of a movie, a new one if it has none.

        Raises:
            NumberingFullError: the file has too many movie ids.
        """
        number = self._numbers.get(movie_id)
        if number is None:
            if self.is_numbering_full:
                raise NumberingFullError
            number = len(self._numbers)
            self._numbers[movie_id] = number
            self._movie_ids.append(movie_id)
            self._new_names.append(self.layout.pack_name(number, movie_id))
        return number

    def advance_time(self, newest_time: int) -> None:
        """Set the time of the newest events, if it is later."""
        self._newest_time = max(self._newest_time, newest_time)

    def add(self, user_id: int, events: Sequence[NewEvents]) -> None:
        """Merge new events into a user's.

        Raises:
            TableError: the user's buckets or entry are damaged.
        """
        found = self._find(user_id)
        stored = self._read_entry(*found, user_id) if found else StoredMovies([], [])
        merged = merge_events(stored, events, self.min_time, self.layout, self._movie_ids)
        if not merged.events:
            return
        bucket, slot = found or self._free_slot(user_id)
        self._write_entry(bucket, slot, user_id, merged)

    def put(self, user_id: int, movies: StoredMovies) -> None:
        """Set the movies of a user who has none."""
        if movies.events:
            self._write_entry(*self._free_slot(user_id), user_id, movies)

    def remove(self, user_id: int) -> bool:
        """Remove a user; return whether there were events."""
        found = self._find(user_id)
        if found:
            self._clear(*found)
        return found is not None

    def sweep(self, buckets: int) -> None:
        """Remove expired events from the next buckets, and check these for damage.

        Call it without uncommitted changes; its own are committed with the next ones.

        Raises:
            TableError: a bucket is damaged.
        """
        for _ in range(buckets):
            bucket = self._sweep_at
            for slot, user_id in enumerate(self._read_directory(bucket)):
                if user_id == EMPTY:
                    continue
                movies = self._read_entry(bucket, slot, user_id)
                kept = drop_expired(movies, self.min_time)
                if not kept.events:
                    self._clear(bucket, slot)
                    self.expired_users += 1
                elif kept is not movies:
                    self._write_entry(bucket, slot, user_id, kept)
            self._sweep_at = (bucket + 1) % self.layout.buckets
        if not self._changed:
            self._pages.clear()

    def read_users(self) -> Iterator[tuple[int, StoredMovies]]:
        """Yield all users with their movies; call it without uncommitted changes.

        Raises:
            TableError: a bucket is damaged.
        """
        for bucket in range(self.layout.buckets):
            for slot, user_id in enumerate(self._read_directory(bucket)):
                if user_id != EMPTY:
                    yield user_id, self._read_entry(bucket, slot, user_id)
            self._pages.clear()

    def commit(self, offsets: Mapping[str, Any] | None = None) -> None:
        """Make all changes durable and visible, together with the positions after them.

        After an error, close the writer: opening the file again completes the commit, drops it, or
        refuses the file.

        Args:
            offsets: replaces the positions; None keeps them.

        Raises:
            TableError: the file was truncated.
            OSError: it cannot be written.
        """
        state = TableState(
            sequence=self.state.sequence + 1,
            committed_at=time.time(),
            newest_time=self._newest_time,
            users=self._users,
            movies=len(self._numbers),
            name_bytes=self.state.name_bytes + sum(map(len, self._new_names)),
            first_movies=self.state.first_movies,
            offsets=dict(self.state.offsets if offsets is None else offsets),
        )
        names_end = self.layout.names_offset + self.state.name_bytes
        head: list[Write] = [(STATE_OFFSET, state.pack(self.layout.seed))]
        if self._new_names:
            head.insert(0, (names_end, b"".join(self._new_names)))
        if self._journal:
            self._journal.append(state.sequence, head + self._changed_parts())
        # Immediately before the writes, which would extend a truncated file with zeros.
        if os.fstat(self._descriptor).st_size < names_end:
            raise TableError("damaged", "the file was truncated")
        for offset, data in head:
            write_at(self._descriptor, offset, data)
        self._write_pages()
        self.state = state
        self._new_names.clear()
        if self._journal and (
            self._journal.size > _MAX_JOURNAL_BYTES or time.monotonic() > self._checkpoint_at
        ):
            self.checkpoint()

    def checkpoint(self, *, erase: bool = False) -> None:
        """Sync the file, so that the journal is not needed any more; optionally erase it.

        Raises:
            TableError: the identity or a movie id is damaged; nothing else reads them again.
        """
        self._check_constant_parts()
        os.fdatasync(self._descriptor)
        self._checkpoint_at = time.monotonic() + _CHECKPOINT_INTERVAL_SECONDS
        if self._journal:
            self._journal.erase() if erase else self._journal.restart()

    def _check_constant_parts(self) -> None:
        packed = read_at(self._descriptor, self.layout.names_offset, self.state.name_bytes)
        is_complete = len(packed) == self.state.name_bytes
        if read_layout(self._descriptor).file_id != self.layout.file_id or not is_complete:
            raise TableError("damaged", "the first page or the movie ids were overwritten")
        self.layout.unpack_names(packed, 0)

    def _changed_parts(self) -> list[Write]:
        parts: list[Write] = []
        for bucket, slot in self._changed:
            start = 0 if slot < 0 else self.layout.entry_offset(slot)
            length = self.layout.directory_bytes if slot < 0 else self.layout.entry_bytes
            data = bytes(self._pages[bucket][start : start + length])
            parts.append((self.layout.bucket_offset(bucket) + start, data))
        return parts

    def _write_pages(self) -> None:
        for bucket in dict.fromkeys(bucket for bucket, _ in self._changed):
            write_at(self._descriptor, self.layout.bucket_offset(bucket), self._pages[bucket])
        self._changed.clear()
        self._pages.clear()

    def _page(self, bucket: int) -> bytearray:
        page = self._pages.get(bucket)
        if page is None:
            offset = self.layout.bucket_offset(bucket)
            page = bytearray(read_at(self._descriptor, offset, PAGE_BYTES))
            if len(page) < PAGE_BYTES:
                raise TableError("damaged", "the file was truncated")
            self._pages[bucket] = page
        return page

    def _read_directory(self, bucket: int) -> tuple[int, ...]:
        user_ids = self.layout.unpack_directory(self._page(bucket), bucket)
        if user_ids is None:
            raise TableError("damaged", f"the directory of bucket {bucket} is damaged")
        return user_ids

    def _read_entry(self, bucket: int, slot: int, user_id: int) -> StoredMovies:
        movies = self.layout.unpack_entry(self._page(bucket), slot, user_id)
        if movies is None:
            raise TableError("damaged", f"an entry of bucket {bucket} is damaged")
        return movies

    def _find(self, user_id: int) -> tuple[int, int] | None:
        for bucket in self.layout.find_buckets(user_id):
            user_ids = self._read_directory(bucket)
            if user_id in user_ids:
                return bucket, user_ids.index(user_id)
        return None

    def _free_slot(self, user_id: int) -> tuple[int, int]:
        """Return a place for a new user: in the emptier bucket, or that of the oldest user."""
        places = [
            (bucket, self._read_directory(bucket)) for bucket in self.layout.find_buckets(user_id)
        ]
        bucket, user_ids = max(places, key=lambda place: place[1].count(EMPTY))
        if EMPTY in user_ids:
            return bucket, user_ids.index(EMPTY)
        oldest = min(
            (self.layout.newest_time(self._page(bucket), slot), bucket, slot)
            for bucket, user_ids in places
            for slot in range(len(user_ids))
        )
        event_time, bucket, slot = oldest
        if event_time < self.min_time:
            self.expired_users += 1
        else:
            self.displaced_users += 1
        self._clear(bucket, slot)
        return bucket, slot

    def _write_entry(self, bucket: int, slot: int, user_id: int, movies: StoredMovies) -> None:
        page, start = self._page(bucket), self.layout.entry_offset(slot)
        page[start : start + self.layout.entry_bytes] = self.layout.pack_entry(user_id, movies)
        self._changed[bucket, slot] = None
        self._set_owner(bucket, slot, user_id)
        if self._journal is None and len(self._pages) > _MAX_BULK_BUCKETS:
            self._write_pages()

    def _clear(self, bucket: int, slot: int) -> None:
        page, start = self._page(bucket), self.layout.entry_offset(slot)
        page[start : start + self.layout.entry_bytes] = bytes(self.layout.entry_bytes)
        self._changed[bucket, slot] = None
        self._set_owner(bucket, slot, EMPTY)

    def _set_owner(self, bucket: int, slot: int, user_id: int) -> None:
        user_ids = list(self._read_directory(bucket))
        if user_ids[slot] == user_id:
            return
        self._users += (user_id != EMPTY) - (user_ids[slot] != EMPTY)
        user_ids[slot] = user_id
        directory = self.layout.pack_directory(bucket, user_ids)
        self._page(bucket)[: len(directory)] = directory
        self._changed[bucket, -1] = None


def open_table(directory: Path) -> TableWriter:
    """Open the file for writing, after the commits of the journal that it may lack.

    Every bucket is checked. The caller holds the lock of the directory.

    Raises:
        TableError: there is no file, it has another format, or it is damaged.
    """
    try:
        descriptor = os.open(directory / TABLE_NAME, os.O_RDWR | os.O_CLOEXEC)
    except FileNotFoundError as error:
        raise TableError("absent", f"no file {directory / TABLE_NAME}") from error
    journal: Journal | None = None
    try:
        layout = read_layout(descriptor)
        journal = Journal(directory / JOURNAL_NAME, layout.seed)
        fsync(directory)  # the journal must be found again after a power failure
        _replay(journal, descriptor, layout)
        writer = TableWriter(descriptor, layout, read_state(descriptor, layout), journal)
        if _count_users(descriptor, layout) != writer.state.users:
            raise TableError("damaged", "the file has not as many users as its state says")
        writer.checkpoint(erase=True)  # another start need not write them again
        request_pages(directory / TABLE_NAME, layout)
    except BaseException:
        os.close(descriptor)
        if journal:
            journal.close()
        raise
    return writer


def _replay(journal: Journal, descriptor: int, layout: TableLayout) -> None:
    """Write the commits of the journal to the file.

    The first commit after a checkpoint overwrites the beginning of the journal. A power failure may
    leave parts of it, which end the records before the checkpoint early: these are older than the
    file, which was synced then, and of their effects on it only a part would be repeated.

    Raises:
        TableError: the journal lacks a commit between the file's state and its first record.
    """
    first = last = 0
    for record in journal.read_records():
        first, last = first or record.sequence, record.sequence
    committed = None
    with suppress(TableError):  # a state that was written in part is in the journal
        committed = read_state(descriptor, layout, attempts=1).sequence
    if committed is not None and last < committed:
        return
    if committed is not None and first > committed + 1:
        raise TableError("damaged", "the journal lacks commits")
    for record in journal.read_records():
        for offset, data in record.writes:
            write_at(descriptor, offset, data)


def _count_users(descriptor: int, layout: TableLayout) -> int:
    """Check all buckets that have disk space, the others being empty; return the number of users.

    Raises:
        TableError: one is damaged.
    """
    bucket = users = 0
    while bucket < layout.buckets:
        try:
            data = os.lseek(descriptor, layout.bucket_offset(bucket), os.SEEK_DATA)
        except OSError as error:
            if error.errno == errno.ENXIO:  # no more data
                break
            raise
        bucket = max(0, data - BUCKETS_OFFSET) // PAGE_BYTES
        end = min(bucket + _CHECKED_BUCKETS, layout.buckets)
        chunk = read_at(descriptor, layout.bucket_offset(bucket), (end - bucket) * PAGE_BYTES)
        for start in range(0, len(chunk), PAGE_BYTES):
            found = layout.count_users(chunk[start : start + PAGE_BYTES], bucket)
            if found is None:
                raise TableError("damaged", f"bucket {bucket} is damaged")
            users += found
            bucket += 1
    return users


def create_table(
    directory: Path, layout: TableLayout, fill: Callable[[TableWriter], Mapping[str, Any]]
) -> None:
    """Make a new file and put it in place of an old one, which becomes `REFUSED_NAME`.

    Readers see the old file until the new one is complete and on the disk.

    Args:
        directory: the directory; the caller holds its lock.
        layout: the layout of the new file.
        fill: adds the first events; returns the positions after them.

    Raises:
        OSError: it cannot be written.
    """
    new, path = directory / _NEW_NAME, directory / TABLE_NAME
    descriptor = os.open(new, os.O_RDWR | os.O_CREAT | os.O_TRUNC | os.O_CLOEXEC, 0o644)
    writer = TableWriter(descriptor, layout, TableState(), None)
    try:
        os.ftruncate(descriptor, layout.names_offset)
        write_at(descriptor, 0, layout.pack_identity())
        offsets = fill(writer)
        writer.state.first_movies = len(writer.movie_ids)
        writer.commit(offsets)
        writer.checkpoint()
    finally:
        writer.close()
    request_pages(new, layout)
    with suppress(FileNotFoundError):
        (directory / REFUSED_NAME).unlink()
    with suppress(FileNotFoundError):
        os.link(path, directory / REFUSED_NAME)
    new.replace(path)
    fsync(directory)


def request_pages(path: Path, layout: TableLayout) -> None:
    """Request the buckets of a file into memory, the empty ones too: readers wait for none."""
    descriptor = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
    try:
        for offset in range(BUCKETS_OFFSET, layout.names_offset, _REQUESTED_BYTES):
            os.posix_fadvise(descriptor, offset, _REQUESTED_BYTES, os.POSIX_FADV_WILLNEED)
    finally:
        os.close(descriptor)
