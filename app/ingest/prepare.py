"""`marquee prepare`: the store as two tables, sorted by user and movie, whole and maybe split.

Buckets are cleaned one at a time into sorted files aside; then windows of users are gathered from
all of those and written out. So memory holds one bucket or one window, however large the store is.
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
from app.ingest.id_repair import Repairs, clean_ratings, clean_watches, find_repairs
from app.ingest.metadata_files import METADATA_FILES, copy_metadata
from app.ingest.schemas import KEY, RATINGS, WATCHES
from app.ingest.segment import to_arrow
from app.ingest.store_files import Table
from app.ingest.store_reader import StoreSnapshot, open_store
from app.ingest.store_stats import count_rows

TABLES: tuple[Table, Table] = ("ratings", "watches")
SIDES = ("train", "test")
#: Rows gathered at once, about; the rows of one user stay together.
WINDOW_ROWS = 500_000
#: Every so many rows the user is noted, to find windows of equal size.
_SAMPLE_EVERY = 500
_GROUP_ROWS = 20_000
_SCHEMAS = {"ratings": RATINGS, "watches": WATCHES}
_TIMES = {"ratings": "time", "watches": "first_time"}


def prepare_tables(
    store: Path, out: Path, test_share: float | None, window: DataWindow | None = None
) -> dict[str, Any]:
    """Write `ratings.parquet` and `watches.parquet` to `out`; returns the command's summary.

    With `test_share`, `train/` and `test/` hold the same split by one moment: the newest share of
    the ratings (of the watches where no rating has a time), and every watch that began then or
    later, are the test side. A `window` says which events are the test side and which are excluded.
    What is known of users and movies is copied beside the tables, and into `train/`.

    Raises:
        IngestError: no store, `out` holds other things, or nothing has a time to split by.
    """
    _check_target(out)
    with open_store(store) as view, staged_directory(out) as staged:
        aside = staged / "aside"
        aside.mkdir()
        repairs = find_repairs(count_rows(view).users_by_movie)
        cleaned = _clean_buckets(view, repairs, aside, window)
        cut = _cut(aside, test_share, window)
        rows = {table: _write_table(aside, staged, table, cut) for table in TABLES}
        shutil.rmtree(aside)
        copy_metadata(store, staged, *([] if cut is None else [staged / "train"]))
    summary: dict[str, Any] = {table: rows[table]["all"] for table in TABLES} | cleaned
    if cut is not None:
        summary["cut"] = cut.isoformat()
        summary |= {side: {table: rows[table][side] for table in TABLES} for side in SIDES}
    return summary


def _check_target(out: Path) -> None:
    """Refuse to replace a directory that holds more than this command writes."""
    ours = {*SIDES, *METADATA_FILES, *(f"{table}.parquet" for table in TABLES)}
    try:
        others = sorted(file.name for file in out.iterdir() if file.name not in ours)
    except FileNotFoundError:
        return
    if others:
        raise IngestError(f"{out} holds other things ({others[0]}): name a directory of its own")


def _clean_buckets(
    view: StoreSnapshot, repairs: Repairs, aside: Path, window: DataWindow | None
) -> dict[str, int]:
    """Write each bucket's cleaned rows as a sorted file; count what cleaning did."""
    counts = Counter(repaired=0, dropped=0)
    for bucket in view.buckets:
        stored = {"watches": view.read_watches(bucket), "ratings": view.read_ratings(bucket)}
        if window is not None:
            kept = {
                name: rows.filter(window.row_filter(_TIMES[name])) for name, rows in stored.items()
            }
            counts["excluded"] += sum(stored[name].height - kept[name].height for name in kept)
            stored = kept
        watches, of_watches = clean_watches(stored["watches"], repairs)
        ratings, of_ratings = clean_ratings(stored["ratings"], repairs)
        counts.update(of_watches._asdict())
        counts.update(of_ratings._asdict())
        for table, rows in (("watches", watches), ("ratings", ratings)):
            path = aside / f"{table}-{bucket:04}.parquet"
            rows.write_parquet(path, row_group_size=_GROUP_ROWS, statistics=True)
    return dict(counts)


def _cut(aside: Path, share: float | None, window: DataWindow | None) -> datetime | None:
    """The first moment of the test side; None: no sides are wanted."""
    if window is None:
        return None if share is None else _find_cut(aside, share)
    if window.test_start is not None:
        return window.test_start
    return _find_cut(aside, window.test_share)


def _find_cut(aside: Path, share: float) -> datetime:
    """The moment from which on the newest share of the ratings, else of the watches, came."""
    for table in TABLES:
        times = _scan(aside, table).select(_TIMES[table]).collect().to_series()
        newest = min(max(1, round(share * len(times))), len(times) - times.null_count())
        if newest:
            cut = times.top_k(newest).min()
            assert isinstance(cut, datetime)  # noqa: S101 - what a column of times holds
            return cut
    raise IngestError("nothing in the store has a time to split by")


def _write_table(aside: Path, staged: Path, table: Table, cut: datetime | None) -> dict[str, int]:
    """Write one table, and its sides when there is a cut; the number of rows of each."""
    rows: Counter[str] = Counter()
    with ExitStack() as stack:
        writers = {}
        for name in ("all",) if cut is None else ("all", *SIDES):
            folder = staged if name == "all" else staged / name
            folder.mkdir(exist_ok=True)
            schema = to_arrow(pl.DataFrame(schema=_SCHEMAS[table])).schema
            writer = pq.ParquetWriter(folder / f"{table}.parquet", schema)
            writers[name] = stack.enter_context(writer)
            rows[name] = 0
        for window in _windows(aside, table):
            for name, part in _sides(window, _TIMES[table], cut).items():
                rows[name] += part.height
                writers[name].write_table(to_arrow(part))
    return dict(rows)


def _sides(window: pl.DataFrame, time: str, cut: datetime | None) -> dict[str, pl.DataFrame]:
    if cut is None:
        return {"all": window}
    newer = (pl.col(time) >= cut).fill_null(False)
    return {"all": window, "train": window.filter(~newer), "test": window.filter(newer)}


def _windows(aside: Path, table: Table) -> Iterator[pl.DataFrame]:
    """All rows, sorted by user and movie, some users at a time."""
    rows, user = _scan(aside, table), pl.col("user_id")
    sample = rows.select(user.gather_every(_SAMPLE_EVERY)).collect().to_series().sort()
    starts = sample.gather_every(WINDOW_ROWS // _SAMPLE_EVERY).unique(maintain_order=True).to_list()
    bounds = [None, *starts[1:], None]
    for low, high in pairwise(bounds):
        above = pl.lit(True) if low is None else user >= low
        below = pl.lit(True) if high is None else user < high
        yield rows.filter(above & below).sort(KEY).collect()


def _scan(aside: Path, table: Table) -> pl.LazyFrame:
    return pl.scan_parquet(aside / f"{table}-*.parquet")
