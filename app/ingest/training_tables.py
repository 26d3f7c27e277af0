"""Read the tables of ratings and watches that training uses.

`RATINGS` and `WATCHES` of `schemas` are their interface: `marquee prepare` writes them as Parquet,
one row per user and movie, sorted by these.
"""

from pathlib import Path

import polars as pl

from app.ingest.errors import IngestError
from app.ingest.id_repair import clean_ratings, find_repairs
from app.ingest.line_reader import LineReader
from app.ingest.log_parser import ONE_TO_FIVE, RatingScale
from app.ingest.merge import merge_ratings
from app.ingest.ratings_csv import RatingsTable
from app.ingest.schemas import RATING_EVENTS, RATINGS, WATCHES, Schema


def read_ratings(path: Path, scale: RatingScale = ONE_TO_FIVE) -> pl.DataFrame:
    """Read `RATINGS` from a Parquet file, or from a CSV in the format of `marquee import-ratings`.

    A CSV is cleaned like the store: the newest rating per user and movie, corrupted movie ids
    repaired from the file's own counts, invalid rows and ratings outside `scale` dropped.

    Raises:
        IngestError: the file is missing, is no such table, or is a CSV without a valid row.
    """
    if ".csv" not in path.suffixes:
        return _read_parquet(path, RATINGS)
    with LineReader(str(path)) as reader:
        frames = [batch.ratings for batch in RatingsTable(reader, scale).read_batches()]
    rows = merge_ratings(frames or [pl.DataFrame(schema=RATING_EVENTS)])
    users_by_movie = dict(rows.group_by("movie_id").len().iter_rows())
    ratings, _ = clean_ratings(rows, find_repairs(users_by_movie))
    if ratings.is_empty():
        limits = f"{scale.min_rating} to {scale.max_rating}"
        raise IngestError(f"{path}: no row is a rating from {limits}")
    return ratings


def read_watches(path: Path) -> pl.DataFrame:
    """Read `WATCHES` from a Parquet file.

    Raises:
        IngestError: the file is missing or is no such table.
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
