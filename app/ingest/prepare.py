"""Write the store as the tables that training reads: `marquee prepare`.

First each bucket is cleaned and written as a sorted temporary file; then ranges of users are read
from all of these and appended to the tables. So memory holds one bucket or one range, however large
the store is.
"""

import shutil
from collections import Counter
from collections.abc import Iterator
from contextlib import ExitStack
from datetime import datetime
from itertools import pairwise
from pathlib import Path
from typing import Any

import polars as pl
import pyarrow.parquet as pq

from app.atomic_files import staged_directory
from app.ingest.data_window import DataWindow
from app.ingest.errors import IngestError
from app.ingest.id_repair import clean_ratings, clean_watches
from app.ingest.metadata_files import METADATA_FILES, copy_metadata
from app.ingest.movie_counts import MovieCounts
from app.ingest.schemas import KEY, RATINGS, WATCHES
from app.ingest.segment import to_arrow
from app.ingest.store_files import Table
from app.ingest.store_reader import NEWEST_TIME_COLUMNS, StoreSnapshot, open_store
from app.ingest.store_stats import count_rows
from app.ingest.time_limits import TimeLimits, TimeRange

TABLES: tuple[Table, Table] = ("ratings", "watches")
SIDES = ("train", "test")
#: Approximate number of rows read at once; the rows of one user stay together.
RANGE_ROWS = 500_000
#: Every how many rows a user id is sampled to find ranges of equal size.
_SAMPLE_EVERY = 500
_ROW_GROUP_ROWS = 20_000
_SCHEMAS = {"ratings": RATINGS, "watches": WATCHES}
#: The column that decides on which side of the split a row is: a watch that had begun before the
#: split is no test of what to recommend after it. Which rows are in the tables at all is decided by
#: `NEWEST_TIME_COLUMNS`, whose times training weighs them by.
_SPLIT_COLUMNS = {"ratings": "time", "watches": "first_time"}


def prepare_tables(
    store: Path,
    out: Path,
    test_share: float | None,
    window: DataWindow | None = None,
    times: TimeLimits | None = None,
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

    Raises:
        IngestError: there is no store, `out` holds other files, or no event has a time to split by.
    """
    _check_target(out)
    with open_store(store) as snapshot, staged_directory(out) as staged:
        temporary = staged / "temporary"
        temporary.mkdir()
        users = count_rows(snapshot).users_by_movie
        possible = (times or TimeLimits()).table_range()
        counts = _clean_buckets(snapshot, users, temporary, window, possible)
        split_time = _choose_split_time(temporary, test_share, window)
        rows = {table: _write_table(temporary, staged, table, split_time) for table in TABLES}
        shutil.rmtree(temporary)
        copy_metadata(store, staged, *([] if split_time is None else [staged / "train"]))
    summary: dict[str, Any] = {table: rows[table]["all"] for table in TABLES} | counts
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


def _clean_buckets(
    snapshot: StoreSnapshot,
    users: MovieCounts,
    temporary: Path,
    window: DataWindow | None,
    possible: TimeRange,
) -> dict[str, int]:
    """Write each bucket's cleaned rows as a sorted file; count the others and those repaired."""
    counts = Counter(repaired=0, dropped=0, impossible_time=0)
    for bucket in snapshot.buckets:
        for table in TABLES:
            stored, newest = snapshot.read_rows(table, bucket), NEWEST_TIME_COLUMNS[table]
            rows = stored.filter(possible.contains(pl.col(newest)).fill_null(True))
            counts["impossible_time"] += stored.height - rows.height
            if window is not None:
                within = rows.filter(window.row_filter(newest))
                counts["excluded"] += rows.height - within.height
                rows = within
            clean = clean_watches if table == "watches" else clean_ratings
            cleaned, repair_counts = clean(rows, users)
            counts.update(repair_counts._asdict())
            path = temporary / f"{table}-{bucket:04}.parquet"
            cleaned.write_parquet(path, row_group_size=_ROW_GROUP_ROWS, statistics=True)
    return dict(counts)


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
    temporary: Path, staged: Path, table: Table, split_time: datetime | None
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
        for frame in _read_user_ranges(temporary, table):
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


def _read_user_ranges(temporary: Path, table: Table) -> Iterator[pl.DataFrame]:
    """Yield all rows sorted by `KEY`, a range of users at a time."""
    rows, user = _scan(temporary, table), pl.col("user_id")
    sample = rows.select(user.gather_every(_SAMPLE_EVERY)).collect().to_series().sort()
    starts = sample.gather_every(RANGE_ROWS // _SAMPLE_EVERY).unique(maintain_order=True).to_list()
    bounds = [None, *starts[1:], None]
    for low, high in pairwise(bounds):
        above = pl.lit(True) if low is None else user >= low
        below = pl.lit(True) if high is None else user < high
        yield rows.filter(above & below).sort(KEY).collect()


def _scan(temporary: Path, table: Table) -> pl.LazyFrame:
    return pl.scan_parquet(temporary / f"{table}-*.parquet")
