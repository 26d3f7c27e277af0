"""Read the tables of ratings and watches that training uses.

`RATINGS` and `WATCHES` of `schemas` are their interface: `marquee prepare` writes them as Parquet,
one row per user and movie, sorted by these.
"""

from collections import Counter
from collections.abc import Iterator
from copy import copy
from pathlib import Path
from typing import NamedTuple

import numpy as np
import polars as pl
import pyarrow.parquet as pq
from pyarrow.lib import ArrowException

from app import logs
from app.ingest.errors import IngestError
from app.ingest.id_repair import clean_ratings
from app.ingest.line_reader import LineReader
from app.ingest.log_parser import ONE_TO_FIVE, RatingScale
from app.ingest.merge import merge_ratings
from app.ingest.movie_counts import MovieCounts
from app.ingest.patterns import lower_escapes_in
from app.ingest.ratings_csv import RatingsTable
from app.ingest.schemas import RATING_EVENTS, RATINGS, WATCHES, Schema
from app.ingest.time_limits import TimeLimits, TimeRange
from app.ingest.user_ranges import UserRange, split_users

_PARQUET_MAGIC = b"PAR1"
#: Every how many rows a user id is sampled to find ranges of equal size.
_SAMPLE_EVERY = 500
_log = logs.get(__name__)


def read_ratings(
    path: Path, scale: RatingScale = ONE_TO_FIVE, times: TimeLimits | None = None
) -> pl.DataFrame:
    """Read `RATINGS` from a Parquet file, or from a text table as `marquee import-ratings` takes.

    The content decides which of both it is. A text table is cleaned like the store: the newest
    rating per user and movie, corrupted movie ids repaired from the file's own counts, invalid rows
    and ratings outside `scale` dropped and reported. Rows with a time outside `times` are dropped
    and reported in both.

    Raises:
        IngestError: the file is missing, is no such table, or is a text table without a valid row.
    """
    if is_parquet(path):
        possible = (times or TimeLimits()).table_range()
        return _drop_impossible(path, _read_parquet(path, RATINGS), "time", possible)
    with LineReader(str(path)) as reader:
        return read_text_ratings(reader, scale, times)


def read_text_ratings(
    reader: LineReader, scale: RatingScale, times: TimeLimits | None = None
) -> pl.DataFrame:
    """Read `RATINGS` from an open text table, as `read_ratings` does.

    Raises:
        IngestError: it cannot be read to its end, is no such table, or has no valid row.
    """
    table = RatingsTable(reader, scale, (times or TimeLimits()).table_range())
    table.warn_of_ignored_time()
    batches = list(table.read_batches())
    rows = merge_ratings([pl.DataFrame(schema=RATING_EVENTS), *(b.ratings for b in batches)])
    counted, users = rows.group_by("movie_id").len(), MovieCounts()
    users.add(counted["movie_id"], counted["len"])
    ratings, _ = clean_ratings(rows, users)
    if reasons := sum((batch.reasons for batch in batches), Counter[str]()):
        _log.warning("rows rejected", file=reader.name, reasons=dict(reasons))
    if ratings.is_empty():
        limits = f"{scale.min_rating} to {scale.max_rating}"
        raise IngestError(f"{reader.name}: no row is a rating from {limits}")
    return ratings


def read_watches(path: Path, times: TimeLimits | None = None) -> pl.DataFrame:
    """Read `WATCHES` from a Parquet file; drop and report rows whose last time is not in `times`.

    Raises:
        IngestError: the file is missing or is no such table.
    """
    possible = (times or TimeLimits()).table_range()
    return _drop_impossible(path, _read_parquet(path, WATCHES), "last_time", possible)


class EventTables:
    """Ratings and watches as Parquet, read a range of users at a time.

    So memory holds one range, however large the tables are. Rows are filtered as by `read_ratings`
    and `read_watches`.

    Args:
        ratings: table of ratings, or None.
        watches: table of watches, or None.
        times: limits of the possible times; None: the default limits.

    Attributes:
        rows: number of rows in both tables.

    Raises:
        IngestError: a file is missing or is no such table.
    """

    def __init__(
        self, ratings: Path | None, watches: Path | None, times: TimeLimits | None = None
    ) -> None:
        self._possible = (times or TimeLimits()).table_range()
        self._tables = (
            None if ratings is None else _ParquetTable(ratings, RATINGS, "time"),
            None if watches is None else _ParquetTable(watches, WATCHES, "last_time"),
        )
        self.rows = sum(table.rows for table in self._tables if table is not None)

    def can_be_split(self) -> bool:
        """Whether both tables are sorted by user, as `marquee prepare` writes them."""
        return all(table.is_sorted for table in self._tables if table is not None)

    def read_movie_ids(self) -> pl.Series:
        """Return the different movie ids."""
        ids = [table.read_movie_ids(self._possible) for table in self._tables if table is not None]
        return pl.concat(ids).unique()

    def read_ranges(
        self, range_rows: int = 500_000
    ) -> Iterator[tuple[pl.DataFrame | None, pl.DataFrame | None]]:
        """Yield ratings and watches of ranges of users, in ascending order of users.

        Args:
            range_rows: approximate number of rows of a range; those of one user stay together.
        """
        dropped = Counter[int]()
        for users in self.find_ranges(range_rows):
            rows = self.read_range(users)
            dropped.update(dict(enumerate(rows.dropped)))
            yield rows.ratings, rows.watches
        self.warn_of_dropped((dropped[0], dropped[1]))

    def find_ranges(self, range_rows: int = 500_000) -> list[UserRange]:
        """Return ranges of users in ascending order, of about this number of rows each."""
        tables = [table for table in self._tables if table is not None]
        samples = np.sort(np.concatenate([table.sampled_users for table in tables]))
        return split_users(np.unique(samples[:: max(1, range_rows // _SAMPLE_EVERY)]).tolist())

    def without_samples(self) -> "EventTables":
        """Return the same tables to be sent to other processes, which read ranges only."""
        other = copy(self)
        ratings, watches = self._tables
        other._tables = (
            ratings and ratings.without_samples(),
            watches and watches.without_samples(),
        )
        return other

    def read_range(self, users: UserRange) -> "RangeRows":
        """Return the rows of a range of users."""
        parts: list[pl.DataFrame | None] = [None, None]
        dropped = [0, 0]
        for number, table in enumerate(self._tables):
            if table is not None:
                rows = table.read_users(users)
                time = pl.col(table.time)
                kept = rows.filter(self._possible.contains(time).fill_null(True))
                parts[number], dropped[number] = kept, rows.height - kept.height
        return RangeRows(parts[0], parts[1], (dropped[0], dropped[1]))

    def warn_of_dropped(self, rows: tuple[int, int]) -> None:
        """Report the ratings and watches that were dropped because of their times."""
        for table, count in zip(self._tables, rows, strict=True):
            if table is not None and count:
                _warn_of_dropped(table.path, count)


class RangeRows(NamedTuple):
    """Rows of a range of users.

    Attributes:
        ratings: None without a table of ratings.
        watches: None without a table of watches.
        dropped: number of ratings and of watches with an impossible time, which are not included.
    """

    ratings: pl.DataFrame | None
    watches: pl.DataFrame | None
    dropped: tuple[int, int]


class _ParquetTable:
    """A table that is read by ranges of users.

    Attributes:
        path: the file.
        time: name of the column whose times must be possible.
        rows: number of rows.
        sampled_users: every `_SAMPLE_EVERY`th user id.
        is_sorted: whether the rows are sorted by user, none without one.
    """

    def __init__(self, path: Path, schema: Schema, time: str) -> None:
        self.path, self.time, self._schema = path, time, schema
        try:
            _check_schema(path, _open_parquet(path).collect_schema(), schema)
            self._sample_users()
        except (OSError, pl.exceptions.PolarsError, ArrowException) as error:
            raise IngestError(f"{path} is not a Parquet file: {error}") from error

    def _sample_users(self) -> None:
        samples, self.is_sorted, self.rows = [np.empty(0, np.int64)], True, 0
        previous = np.empty(0, np.int64)
        for batch in pq.ParquetFile(self.path).iter_batches(columns=["user_id"]):
            if batch.column(0).null_count:
                self.is_sorted = False
                break
            users = batch.column(0).to_numpy()
            if (np.diff(np.concatenate([previous, users])) < 0).any():
                self.is_sorted = False
                break
            samples.append(users[-self.rows % _SAMPLE_EVERY :: _SAMPLE_EVERY])
            self.rows += len(users)
            previous = users[-1:]
        self.sampled_users = np.concatenate(samples)

    def without_samples(self) -> "_ParquetTable":
        """Return the same table without `sampled_users`."""
        other = copy(self)
        other.sampled_users = self.sampled_users[:0]
        return other

    def read_movie_ids(self, possible: TimeRange) -> pl.Series:
        """Return the different movie ids of the rows with a possible time or none."""
        rows = _open_parquet(self.path).filter(possible.contains(pl.col(self.time)).fill_null(True))
        ids = rows.select(pl.col("movie_id").unique()).collect(engine="streaming")
        return lower_escapes_in(ids)["movie_id"].unique()

    def read_users(self, users: UserRange) -> pl.DataFrame:
        """Return the rows of a range of users."""
        rows = _open_parquet(self.path).filter(users.filter())
        return lower_escapes_in(rows.select(list(self._schema)).collect())


def is_parquet(path: Path) -> bool:
    """Whether the content of a file, whatever its name, is Parquet; false for a pipe."""
    try:
        if not path.is_file():
            return False
        with path.open("rb") as file:
            return file.read(len(_PARQUET_MAGIC)) == _PARQUET_MAGIC
    except OSError:  # the reader that is tried next reports it
        return False


def _drop_impossible(
    path: Path, frame: pl.DataFrame, column: str, possible: TimeRange
) -> pl.DataFrame:
    kept = frame.filter(possible.contains(pl.col(column)).fill_null(True))
    if dropped := frame.height - kept.height:
        _warn_of_dropped(path, dropped)
    return kept


def _warn_of_dropped(path: Path, rows: int) -> None:
    _log.warning("rows with an impossible time dropped", file=str(path), rows=rows)


def _read_parquet(path: Path, schema: Schema) -> pl.DataFrame:
    try:
        frame = pl.read_parquet(path)
    except FileNotFoundError as error:
        raise IngestError(f"{path}: no such file") from error
    except (OSError, pl.exceptions.PolarsError) as error:
        raise IngestError(f"{path} is not a Parquet file: {error}") from error
    _check_schema(path, frame.schema, schema)
    return lower_escapes_in(frame.select(list(schema)))


def _open_parquet(path: Path) -> pl.LazyFrame:
    return pl.scan_parquet(path, glob=False)


def _check_schema(path: Path, found: pl.Schema, schema: Schema) -> None:
    for name, kind in schema.items():
        if name not in found:
            raise IngestError(f"{path} has no column {name}")
        if found[name] != kind:
            raise IngestError(f"{path}: column {name} is {found[name]}, not {kind}")
