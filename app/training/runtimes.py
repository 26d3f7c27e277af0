"""Movie lengths, to convert watched minutes to a share of the movie."""

import io
from pathlib import Path
from typing import Any

import polars as pl

from app.text_files import parse_json
from app.training.errors import TrainingError

#: Accepted names of the column with a movie's length in minutes.
LENGTHS = ("runtime_minutes", "length", "minutes", "movie_length", "runtime")
_IDS = ("movie_id", "id")
#: Index of the length in a CSV without header.
_FOURTH = 3


def read_lengths(path: Path) -> pl.DataFrame:
    """Read movie lengths: movie_id, length in minutes; drop rows without a length above 0.

    Accepts Parquet or CSV with columns `movie_id` and one of `LENGTHS`; a CSV without header whose
    first column is the id and whose fourth is the length; and JSON: an object of objects by movie
    id, or a list of objects.

    Raises:
        TrainingError: the file cannot be read or lacks these columns.
    """
    try:
        table = _read(path)
        named = {name.lower(): name for name in table.columns}
        movie = next(named[name] for name in _IDS if name in named)
        length = next(named[name] for name in LENGTHS if name in named)
        found = table.select(
            movie_id=pl.col(movie).cast(pl.String),
            length=pl.col(length).cast(pl.Float32, strict=False),
        )
    except OSError as error:
        raise TrainingError(f"{path}: cannot be read: {error.strerror or error}") from error
    except (
        pl.exceptions.PolarsError,
        ValueError,
        StopIteration,
        TypeError,
        AttributeError,
    ) as error:
        raise TrainingError(f"{path}: not a table of movie_id and length: {error}") from error
    known = found.filter(pl.col("length").is_finite() & (pl.col("length") > 0))
    return known.drop_nulls().unique("movie_id", keep="last", maintain_order=True)


def _read(path: Path) -> pl.DataFrame:
    if path.suffix == ".json":
        return _parse_json(parse_json(path.read_bytes()))
    if path.suffix != ".csv":
        return pl.read_parquet(path)
    content = path.read_bytes()
    try:
        text = content.decode("utf-8-sig")
    except UnicodeDecodeError:
        text = content.decode("latin-1")
    first = text.partition("\n")[0].lower().replace('"', "").strip().split(",")
    if set(first) & set(_IDS):
        return pl.read_csv(io.StringIO(text), infer_schema=False)
    table = pl.read_csv(io.StringIO(text), has_header=False, infer_schema=False)
    columns = table.get_columns()
    if len(columns) <= _FOURTH:
        raise ValueError("neither a header with movie_id nor four columns")
    return pl.DataFrame({"movie_id": columns[0], "length": columns[_FOURTH]})


def _parse_json(content: Any) -> pl.DataFrame:
    rows = content
    if isinstance(content, dict):
        rows = [{**movie, "movie_id": name} for name, movie in content.items()]
    names = ("movie_id", "id", *LENGTHS)
    kept = [{n: str(row[n]) for n in names if row.get(n) is not None} for row in rows]
    return pl.DataFrame(kept, infer_schema_length=None)
