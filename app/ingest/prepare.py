"""Write the store as the tables that training reads: `marquee prepare`.

First each bucket is cleaned and written as a sorted temporary file; then ranges of users are read
from all of these and appended to the tables. So memory holds one bucket or one range, however large
the store is; those of a small store are cleaned together. Buckets and ranges are independent:
`prepare_spark` works on them on a cluster.
"""

import shutil
from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from contextlib import ExitStack
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import Any, Protocol

import polars as pl
import pyarrow.parquet as pq

from app.atomic_files import replaced_file, staged_directory
from app.ingest.data_window import DataWindow
from app.ingest.errors import IngestError
from app.ingest.id_repair import clean_ratings, clean_watches
from app.ingest.metadata_files import METADATA_FILES, copy_metadata
from app.ingest.movie_counts import MovieCounts
from app.ingest.schemas import KEY, RATINGS, WATCHES
from app.ingest.segment import to_arrow
from app.ingest.store_files import Table
from app.ingest.store_reader import NEWEST_TIME_COLUMNS, StoreSnapshot, open_store
from app.ingest.store_stats import count_users
from app.ingest.time_limits import TimeLimits, TimeRange
from app.ingest.user_ranges import UserRange, split_users

TABLES: tuple[Table, Table] = ("ratings", "watches")
SIDES = ("train", "test")
#: Approximate number of rows read at once; the rows of one user stay together.
RANGE_ROWS = 500_000
#: Stored rows of a small store that are cleaned at once: each call costs 25 ms, whatever its rows.
_GROUP_ROWS = 100_000
#: Every how many rows a user id is sampled to find ranges of equal size.
_SAMPLE_EVERY = 500
_ROW_GROUP_ROWS = 20_000
_SCHEMAS = {"ratings": RATINGS, "watches": WATCHES}
#: The column that decides on which side of the split a row is: a watch that had begun before the
#: split is no test of what to recommend after it. Which rows are in the tables at all is decided by
#: `NEWEST_TIME_COLUMNS`, whose times training weighs them by.
_SPLIT_COLUMNS = {"ratings": "time", "watches": "first_time"}


@dataclass(frozen=True)
class Cleaning:
    """How the rows of a store are cleaned.

    Attributes:
        users: number of users by movie id, from which corrupted ids are repaired.
        window: which events are excluded; None: none of them.
        possible: limits of the possible times.
    """

    users: MovieCounts
    window: DataWindow | None
    possible: TimeRange


class PrepareEngine(Protocol):
    """Does the work on all buckets of a store, or on all ranges of users."""

    def count_users(self, snapshot: StoreSnapshot, temporary: Path) -> MovieCounts:
        """Return the number of users by movie id as received."""
        ...

    def clean_buckets(
        self, snapshot: StoreSnapshot, temporary: Path, cleaning: Cleaning
    ) -> Iterable[Counter[str]]:
        """Call `clean_buckets` for all buckets; return the counts."""
        ...

    def read_ranges(
        self, temporary: Path, table: Table, ranges: Sequence[UserRange]
    ) -> Iterator[pl.DataFrame]:
        """Yield the result of `read_range` for each range, in their order."""
        ...


class LocalEngine:
    """Works on one bucket, or range of users, after the other in this process."""

    def count_users(self, snapshot: StoreSnapshot, _temporary: Path) -> MovieCounts:
        """See `PrepareEngine`."""
        users_by_movie = MovieCounts()
        for bucket in snapshot.buckets:
            users = count_users(snapshot, bucket)
            users_by_movie.add(users["movie_id"], users["len"])
        return users_by_movie

    def clean_buckets(
        self, snapshot: StoreSnapshot, temporary: Path, cleaning: Cleaning
    ) -> Iterable[Counter[str]]:
        """See `PrepareEngine`."""
        groups = _group_buckets(snapshot)
        return (clean_buckets(snapshot, temporary, cleaning, group) for group in groups)

    def read_ranges(
        self, temporary: Path, table: Table, ranges: Sequence[UserRange]
    ) -> Iterator[pl.DataFrame]:
        """See `PrepareEngine`."""
        return (read_range(temporary, table, users) for users in ranges)


def prepare_tables(
    store: Path,
    out: Path,
    test_share: float | None,
    window: DataWindow | None = None,
    times: TimeLimits | None = None,
    engine: PrepareEngine | None = None,
) -> dict[str, Any]:
    """Write `ratings.parquet` and `watches.parquet` to `out`; return the command's summary.

    Metadata of users and movies is copied beside the tables, and into `train/`.

    Args:
        store: the store to read.
        out: directory that is replaced atomically.
        test_share: also write `train/` and `test/`, split at one time: the test side holds this
            share of the ratings, the newest (of the watches, where no rating has a time), and every
            watch that began at that time or later. None: no split.
        window: which events are the test side and which are excluded; in place of `test_share`.
        times: limits of the possible times; rows whose newest time is impossible are left out.
        engine: does the work; None: this process. All engines write the same bytes.

    Raises:
        IngestError: there is no store, `out` holds other files, or no event has a time to split by.
    """
    _check_target(out)
    engine = engine or LocalEngine()
    with open_store(store) as snapshot, staged_directory(out) as staged:
        temporary = staged / "temporary"
        temporary.mkdir()
        users = engine.count_users(snapshot, temporary)
        cleaning = Cleaning(users, window, (times or TimeLimits()).table_range())
        counts = Counter(repaired=0, dropped=0, impossible_time=0)
        if window is not None:
            counts["excluded"] = 0
        for found in engine.clean_buckets(snapshot, temporary, cleaning):
            counts.update(found)
        split_time = _choose_split_time(temporary, test_share, window)
        rows = {}
        for table in TABLES:
            frames = engine.read_ranges(temporary, table, _find_ranges(temporary, table))
            rows[table] = _write_table(frames, staged, table, split_time)
        shutil.rmtree(temporary)
        copy_metadata(store, staged, *([] if split_time is None else [staged / "train"]))
    summary: dict[str, Any] = {table: rows[table]["all"] for table in TABLES} | dict(counts)
    if split_time is not None:
        summary["split_time"] = split_time.isoformat()
        summary |= {side: {table: rows[table][side] for table in TABLES} for side in SIDES}
    return summary


def _check_target(out: Path) -> None:
    """Raise an error where `out` holds files that this command does not write."""
    ours = {*SIDES, *METADATA_FILES, *(f"{table}.parquet" for table in TABLES)}
    try:
        others = sorted(file.name for file in out.iterdir() if file.name not in ours)
    except FileNotFoundError:
        return
    if others:
        raise IngestError(f"{out} holds other files ({others[0]}): choose another directory")


def _group_buckets(snapshot: StoreSnapshot) -> list[range]:
    """Return the buckets that are cleaned together: in a large store each one by itself.

    Up to `RANGE_ROWS` rows are read as one range afterwards, so that the tables are the same bytes.
    """
    buckets = snapshot.buckets
    rows = max(1, sum(snapshot.count_stored_rows(table) for table in TABLES))
    size = max(1, len(buckets) * _GROUP_ROWS // rows) if rows <= RANGE_ROWS else 1
    return [buckets[first : first + size] for first in range(0, len(buckets), size)]


def clean_buckets(
    snapshot: StoreSnapshot, temporary: Path, cleaning: Cleaning, buckets: range
) -> Counter[str]:
    """Write the cleaned rows of buckets as sorted files; count the others and those repaired."""
    counts: Counter[str] = Counter()
    window = cleaning.window
    for table in TABLES:
        newest = NEWEST_TIME_COLUMNS[table]
        parts = [snapshot.read_rows(table, bucket) for bucket in buckets]
        stored = parts[0] if len(parts) == 1 else pl.concat(parts).sort(KEY)
        rows = stored.filter(cleaning.possible.contains(pl.col(newest)).fill_null(True))
        counts["impossible_time"] += stored.height - rows.height
        if window is not None:
            within = rows.filter(window.row_filter(newest))
            counts["excluded"] += rows.height - within.height
            rows = within
        clean = clean_watches if table == "watches" else clean_ratings
        cleaned, repair_counts = clean(rows, cleaning.users)
        counts.update(repair_counts._asdict())
        with replaced_file(temporary / f"{table}-{buckets[0]:04}.parquet") as path:
            cleaned.write_parquet(path, row_group_size=_ROW_GROUP_ROWS, statistics=True)
    return counts


def _choose_split_time(
    temporary: Path, test_share: float | None, window: DataWindow | None
) -> datetime | None:
    """Return the time of the first event of the test side; None: no split."""
    if window is None:
        return None if test_share is None else _find_split_time(temporary, test_share)
    if window.test_start is not None:
        return window.test_start
    return _find_split_time(temporary, window.test_share)


def _find_split_time(temporary: Path, test_share: float) -> datetime:
    """Return the oldest time among the newest share of the ratings, else of the watches."""
    for table in TABLES:
        times = _scan(temporary, table).select(_SPLIT_COLUMNS[table]).collect().to_series()
        newest = min(max(1, round(test_share * len(times))), len(times) - times.null_count())
        if newest:
            split_time = times.top_k(newest).min()
            assert isinstance(split_time, datetime)  # noqa: S101 - the type of the column
            return split_time
    raise IngestError("no event in the store has a time to split by")


def _write_table(
    frames: Iterable[pl.DataFrame], staged: Path, table: Table, split_time: datetime | None
) -> dict[str, int]:
    """Write one table, and its sides where there is a split; return the rows of each."""
    rows: Counter[str] = Counter()
    with ExitStack() as stack:
        writers = {}
        for name in ("all",) if split_time is None else ("all", *SIDES):
            folder = staged if name == "all" else staged / name
            folder.mkdir(exist_ok=True)
            schema = to_arrow(pl.DataFrame(schema=_SCHEMAS[table])).schema
            writer = pq.ParquetWriter(folder / f"{table}.parquet", schema)
            writers[name] = stack.enter_context(writer)
            rows[name] = 0
        for frame in frames:
            for name, part in _split(frame, _SPLIT_COLUMNS[table], split_time).items():
                rows[name] += part.height
                writers[name].write_table(to_arrow(part))
    return dict(rows)


def _split(
    frame: pl.DataFrame, time_column: str, split_time: datetime | None
) -> dict[str, pl.DataFrame]:
    if split_time is None:
        return {"all": frame}
    is_test = (pl.col(time_column) >= split_time).fill_null(False)
    return {"all": frame, "train": frame.filter(~is_test), "test": frame.filter(is_test)}


def _find_ranges(temporary: Path, table: Table) -> list[UserRange]:
    """Return ranges of users, in ascending order, of about `RANGE_ROWS` rows each."""
    users = _scan(temporary, table).select(pl.col("user_id").gather_every(_SAMPLE_EVERY))
    sample = users.collect().to_series().sort()
    starts = sample.gather_every(RANGE_ROWS // _SAMPLE_EVERY).unique(maintain_order=True)
    return split_users(starts.to_list())


def read_range(temporary: Path, table: Table, users: UserRange) -> pl.DataFrame:
    """Return all cleaned rows of a range of users, sorted by `KEY`."""
    return _scan(temporary, table).filter(users.filter()).sort(KEY).collect()


def _scan(temporary: Path, table: Table) -> pl.LazyFrame:
    return pl.scan_parquet(temporary / f"{table}-*.parquet")
