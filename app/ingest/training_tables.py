"""The two tables that training reads, `RATINGS` and `WATCHES` of `schemas`: a promise.

`marquee prepare` writes them as Parquet, sorted by user and movie, one row for each pair.
"""

from pathlib import Path

import polars as pl

from app.ingest.errors import IngestError
from app.ingest.id_repair import clean_ratings, find_repairs
from app.ingest.line_reader import LineReader
from app.ingest.log_parser import ONE_TO_FIVE, RatingScale
from app.ingest.merge import merge_ratings
from app.ingest.ratings_csv import open_table
from app.ingest.schemas import RATING_EVENTS, RATINGS, WATCHES, Schema


def read_ratings(path: Path, scale: RatingScale = ONE_TO_FIVE) -> pl.DataFrame:
    """Ratings (`RATINGS`), from a Parquet file or from a CSV as `marquee import-ratings` takes it.

    A CSV's rows are cleaned as the store's are: newest rating per pair, damaged ids repaired from
    the file's own frequencies, rows that make no sense (outside `scale`, too) left out.

    Raises:
        IngestError: the file is missing, no such table, or a CSV without a single good row.
    """
    if ".csv" not in path.suffixes:
        return _read_parquet(path, RATINGS)
    with LineReader(str(path)) as reader:
        parts = [batch.ratings for batch in open_table(reader).read_batches(scale)]
    rows = merge_ratings(parts or [pl.DataFrame(schema=RATING_EVENTS)])
    users = dict(rows.group_by("movie_id").len().iter_rows())
    ratings, _ = clean_ratings(rows, find_repairs(users))
    if ratings.is_empty():
        raise IngestError(
            f"{path}: no row is a rating from {scale.min_rating} to {scale.max_rating}"
        )
    return ratings


def read_watches(path: Path) -> pl.DataFrame:
    """Watches (`WATCHES`) from a Parquet file.

    Raises:
        IngestError: the file is missing or no such table.
    """
    return _read_parquet(path, WATCHES)


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
    return frame.select(list(schema))
