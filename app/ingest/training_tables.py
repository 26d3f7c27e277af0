"""Read the tables of ratings and watches that training uses.

`RATINGS` and `WATCHES` of `schemas` are their interface: `marquee prepare` writes them as Parquet,
one row per user and movie, sorted by these.
"""

from collections import Counter
from pathlib import Path

import polars as pl

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

_PARQUET_MAGIC = b"PAR1"
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
        _log.warning("rows with an impossible time dropped", file=str(path), rows=dropped)
    return kept


def _read_parquet(path: Path, schema: Schema) -> pl.DataFrame:
    try:
        frame = pl.read_parquet(path)
    except FileNotFoundError as error:
        raise IngestError(f"{path}: no such file") from error
    except (OSError, pl.exceptions.PolarsError) as error:
        raise IngestError(f"{path} is not a Parquet file: {error}") from error
    for name, kind in schema.items():
        if name not in frame.columns:
            raise IngestError(f"{path} has no column {name}")
        if frame.schema[name] != kind:
            raise IngestError(f"{path}: column {name} is {frame.schema[name]}, not {kind}")
    return lower_escapes_in(frame.select(list(schema)))
