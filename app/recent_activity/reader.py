"""Read the recent activity of a user in microseconds, for the workers of the service.

The file is read with `pread`, not mapped: where a mapped file is truncated or its disk fails, the
kernel kills the process that reads it, while `pread` returns fewer bytes or an error. One call
copies a whole bucket, so that a reader that is stopped for a while still has a copy of one moment.

A page that is not in memory is not waited for (`RWF_NOWAIT`): it is requested from the disk, and
this look-up returns without it.
"""

import os
from collections.abc import Mapping
from contextlib import suppress
from math import isnan
from pathlib import Path
from time import monotonic, time
from typing import Any, Literal, NamedTuple, get_args

from app import logs
from app.recent_activity.table_format import (
    PAGE_BYTES,
    TABLE_NAME,
    TableError,
    TableLayout,
    TableState,
    pack_user_id,
    read_at,
    read_layout,
    read_state,
)
from app.recent_events import UNKNOWN_MOVIE, RecentEvent

State = Literal["found", "none", "absent", "foreign", "damaged", "overtaken", "uncached", "opening"]
#: The states of a look-up: events were found; the user has none; there is no file; the file has
#: another format; the user's bucket or the file is damaged; it changed during every attempt to
#: read it; it is not in memory; a new file's movie ids are being read.
STATES: tuple[State, ...] = get_args(State)
_ATTEMPTS = 4
_CHECK_INTERVAL_SECONDS = 1.0
#: Movie ids that one look-up reads at most, in bytes: those of a new file take several look-ups.
_MAX_NAME_BYTES = 16_384

_log = logs.get(__name__)


class Lookup(NamedTuple):
    """The result of one look-up; the movies are empty unless found.

    Attributes:
        state: see `STATES`.
        events: the last movies, newest first, with the model's numbers, or those of the file where
            there is no model.
        older: numbers of the movies before them, without those that the model does not have.
    """

    state: State
    events: tuple[RecentEvent, ...] = ()
    older: tuple[int, ...] = ()


_RESULTS: dict[State, Lookup] = {state: Lookup(state) for state in STATES}


class RecentActivityReader:
    """Reads the file in a directory; opens it at the first look-up, and a new one when replaced.

    A process has its own reader, or opens it after the fork; it is not for several threads.

    Args:
        directory: the directory of `marquee follow`; read-only access is enough.
        model_numbers: the model's number of each movie id; None: numbers of the file.

    Attributes:
        movie_ids: movie id by number of the file, if `model_numbers` is None.
    """

    def __init__(self, directory: Path, model_numbers: Mapping[str, int] | None = None) -> None:
        self.movie_ids: list[str] = []
        self._path = directory / TABLE_NAME
        self._model_numbers = model_numbers
        self._descriptor = -1
        self._inode = (0, 0)
        self._layout = TableLayout(0, 1, 0, 2)
        self._state = TableState()
        #: Model's number by number of the file.
        self._numbers: list[int] = []
        self._name_bytes = 0
        self._failure: State = "absent"
        self._check_at = 0.0
        self._page = bytearray(PAGE_BYTES)
        self._flags = os.RWF_NOWAIT

    def get(self, user_id: int) -> Lookup:
        """Return the last movies of a user. Never raises, and waits for no page of the disk."""
        try:
            if monotonic() >= self._check_at:
                self._refresh(_MAX_NAME_BYTES)
            if self._descriptor < 0:
                return _RESULTS[self._failure]
            if self._name_bytes < self._state.name_bytes:
                self._check_at = 0.0
                return _RESULTS["opening"]
            return self._get(user_id)
        except Exception as error:  # noqa: BLE001 - a request is answered without recent events
            self._fail("damaged", error)
            return _RESULTS["damaged"]

    @property
    def age_seconds(self) -> float | None:
        """Time since the last commit; None where no file can be read."""
        if monotonic() >= self._check_at:
            self._refresh(_MAX_NAME_BYTES)
        return None if self._descriptor < 0 else max(0.0, time() - self._state.committed_at)

    @property
    def newest_time(self) -> int:
        """Time of the newest events of all users at the last check, in seconds since 1970."""
        return self._state.newest_time

    def refresh(self) -> None:
        """Open the file, or a new one, or read its last commit and new movie ids. Never raises.

        A look-up does it every second, with a bounded number of movie ids. Call it when a worker
        starts, since it reads all of them.
        """
        self._refresh(None)

    def _refresh(self, max_name_bytes: int | None) -> None:
        self._check_at = monotonic() + _CHECK_INTERVAL_SECONDS
        try:
            found = self._path.stat()
            if self._descriptor < 0 or (found.st_dev, found.st_ino) != self._inode:
                self._open()
                self._read_commit(max_name_bytes)
            elif found.st_size < self._layout.names_offset:
                raise TableError("damaged", "the file was truncated")
            else:
                self._read_next_commit(max_name_bytes)
        except FileNotFoundError as error:
            self._fail("absent", error)
        except TableError as error:
            self._fail(error.problem, error)
        except Exception as error:  # noqa: BLE001 - as in `get`
            self._fail("damaged", error)

    def close(self) -> None:
        """Close the file; a later look-up opens it again."""
        if self._descriptor >= 0:
            os.close(self._descriptor)
        self._descriptor, self._check_at = -1, 0.0

    def _open(self) -> None:
        self.close()
        self._check_at = monotonic() + _CHECK_INTERVAL_SECONDS
        self._descriptor = os.open(self._path, os.O_RDONLY | os.O_CLOEXEC)
        opened = os.fstat(self._descriptor)
        self._inode = (opened.st_dev, opened.st_ino)
        self._layout = read_layout(self._descriptor)
        self._numbers, self.movie_ids, self._name_bytes = [], [], 0
        self._failure = "absent"

    def _read_commit(self, max_name_bytes: int | None) -> None:
        """Read the state, and movie ids that were added since it was read before.

        Args:
            max_name_bytes: read at most so many bytes of movie ids; None: all.
        """
        state = read_state(self._descriptor, self._layout)
        offset = self._layout.names_offset + self._name_bytes
        missing = state.name_bytes - self._name_bytes
        length = missing if max_name_bytes is None else min(missing, max_name_bytes)
        is_part = length < missing
        packed = read_at(self._descriptor, offset, length)
        names, end = self._layout.unpack_whole_names(packed, len(self._numbers))
        if not is_part and (end < missing or len(self._numbers) + len(names) != state.movies):
            raise TableError("damaged", "the file has other movie ids than its state says")
        if self._model_numbers is None:
            self.movie_ids += names
            self._numbers += range(len(self._numbers), len(self.movie_ids))
        else:
            get = self._model_numbers.get
            self._numbers += [get(name, UNKNOWN_MOVIE) for name in names]
        self._name_bytes += end
        self._state = state

    def _read_next_commit(self, max_name_bytes: int | None) -> None:
        """Read what was committed since; where that is damaged, the age of the last one grows."""
        with suppress(TableError):
            self._read_commit(max_name_bytes)

    def _fail(self, state: State, error: Exception) -> None:
        """Answer with a state until the next check."""
        if self._failure != state:
            _log.warning("recent activity is not used", state=state, error=str(error))
        check_at = self._check_at
        self.close()
        self._failure, self._check_at = state, check_at

    def _get(self, user_id: int) -> Lookup:
        layout = self._layout
        key = pack_user_id(user_id)
        for bucket in layout.find_buckets(user_id):
            if not self._read_page(layout.bucket_offset(bucket)):
                return _RESULTS["uncached"]
            if layout.lacks_user(self._page, bucket, key):
                continue
            result = self._get_from(bucket, user_id)
            if result is not None:
                return result
        return _RESULTS["none"]

    def _get_from(self, bucket: int, user_id: int) -> Lookup | None:
        """Look a user up in one bucket; None if the user is not in it."""
        layout, page = self._layout, self._page
        offset = layout.bucket_offset(bucket)
        contents = set()
        for _ in range(_ATTEMPTS):
            if not self._read_page(offset):
                return _RESULTS["uncached"]
            user_ids = layout.unpack_directory(page, bucket)
            if user_ids is not None:
                if user_id not in user_ids:
                    return None
                stored = layout.unpack_fields(page, user_ids.index(user_id), user_id)
                if stored is not None:
                    return self._to_lookup(list(stored[0]), stored[1])
            contents.add(bytes(page))
            os.sched_yield()  # a commit may be changing the bucket
        return _RESULTS["damaged" if len(contents) == 1 else "overtaken"]

    def _read_page(self, offset: int) -> bool:
        """Read a bucket; return False if it is not in memory.

        Raises:
            TableError: the file ends before.
            OSError: it cannot be read.
        """
        try:
            size = os.preadv(self._descriptor, (self._page,), offset, self._flags)
        except BlockingIOError:
            os.posix_fadvise(self._descriptor, offset, PAGE_BYTES, os.POSIX_FADV_WILLNEED)
            return False
        except OSError:
            if not self._flags:
                raise
            self._flags = 0  # the file system does not support it, such as tmpfs
            return self._read_page(offset)
        if size != PAGE_BYTES:
            raise TableError("damaged", "the file was truncated")
        return True

    def _to_lookup(self, stored: list[tuple[Any, ...]], older: tuple[int, ...]) -> Lookup:
        """Convert the fields of `StoredEvent`, and the numbers of older movies."""
        numbers = self._numbers
        try:
            events = [
                RecentEvent(numbers[movie], minutes, None if isnan(rating) else rating, event_time)
                for movie, event_time, minutes, _, _, rating in stored
            ]
            older_numbers = [n for m in older if (n := numbers[m]) >= 0] if older else ()
        except IndexError:  # a movie that was added since the last check
            self._read_next_commit(_MAX_NAME_BYTES)
            known = [event for event in stored if event[0] < len(numbers)]
            return self._to_lookup(known, tuple(m for m in older if m < len(numbers)))
        return Lookup("found", tuple(events), tuple(older_numbers))
