"""Movie lengths, to convert watched minutes to a share of the movie."""

from pathlib import Path
from typing import Any

import polars as pl

from app.cli_errors import MarqueeError
from app.ingest.patterns import lower_escapes_in
from app.ingest.table_layout import NAMES
from app.ingest.text_tables import decode_table, find_fields, parse_text_table, read_content
from app.ingest.training_tables import is_parquet
from app.text_files import parse_json
from app.training.errors import TrainingError

#: Accepted names of the columns, as `table_layout.plain_name` returns them.
_COLUMNS = {
    "movie_id": (*NAMES["movie"], "id"),
    "length": (
        "length", "minutes", "runtime", "duration", "movielength", "lengthminutes",
        "runtimeminutes", "runtimemins", "durationminutes", "durationmins",
    ),
}  # fmt: skip
#: Index of the length in a text table without header.
_FOURTH = 3
#: A median outside is no length in minutes, but one in seconds or hours, a year, or a number of
#: votes.
_MEDIAN_MINUTES = (5.0, 600.0)


def read_lengths(path: Path) -> pl.DataFrame:
    """Read movie lengths: movie_id, length in minutes; drop rows without a length above 0.

    Accepts Parquet, or a text table, with a column of ids and one of lengths; a text table without
    header whose first column is the id and whose fourth is the length; and JSON: an object of
    objects by movie id, or a list of objects. The content decides which of them it is.

    Raises:
        TrainingError: the file cannot be read, lacks these columns, or has no plausible lengths.
    """
    try:
        table = _read(path)
    except (
        MarqueeError,
        pl.exceptions.PolarsError,
        OSError,
        ValueError,
        TypeError,
        AttributeError,
    ) as error:
        raise TrainingError(f"{path}: not a table of movie_id and length: {error}") from error
    given = table["length"].drop_nulls()
    found = table.select(
        movie_id=pl.col("movie_id").cast(pl.String),
        length=pl.col("length").cast(pl.Float32, strict=False),
    )
    _check_lengths(path, len(given), found["length"])
    known = lower_escapes_in(found).filter(pl.col("length").is_finite() & (pl.col("length") > 0))
    return known.drop_nulls().unique("movie_id", keep="last", maintain_order=True)


def _check_lengths(path: Path, given: int, lengths: pl.Series) -> None:
    """Refuse a column that cannot be lengths in minutes.

    Raises:
        TrainingError: most of the given values are no numbers, or their median is not plausible.
    """
    numbers = lengths.drop_nulls()
    if len(numbers) * 2 < given:
        raise TrainingError(f"{path}: most lengths are not numbers of minutes")
    known = numbers.filter(numbers.is_finite() & (numbers > 0))
    median = known.median()
    low, high = _MEDIAN_MINUTES
    if isinstance(median, float) and not low <= median <= high:
        raise TrainingError(
            f"{path}: the median length is {median:g}, which is not plausible in minutes"
        )


def _read(path: Path) -> pl.DataFrame:
    """Return the columns `movie_id` and `length` as they are in the file."""
    if is_parquet(path):
        return _select(path, pl.read_parquet(path))
    content = read_content(path)
    if content.lstrip()[:1] in (b"{", b"["):
        return _select(path, _parse_json(parse_json(content)))
    return _parse_text(path, decode_table(content))


def _select(path: Path, table: pl.DataFrame) -> pl.DataFrame:
    found = find_fields(str(path), table.columns, _COLUMNS)
    if missing := [name for name in _COLUMNS if name not in found]:
        raise ValueError(f"no column {missing[0]}")
    columns = table.get_columns()
    return pl.DataFrame({name: columns[index] for name, index in found.items()})


def _parse_text(path: Path, text: str) -> pl.DataFrame:
    table = parse_text_table(str(path), text)
    found, first_row = table.find_columns(_COLUMNS), 1
    if not found:
        widths = [len(row) for row in table.rows]
        if not widths or sum(width > _FOURTH for width in widths) * 2 < len(widths):
            raise ValueError("neither a header with movie_id and length nor four columns")
        first_row, found = 0, {"movie_id": 0, "length": _FOURTH}
        first = table.column(_FOURTH, 0)[0]
        if first is not None and not first.replace(".", "", 1).isdecimal():
            raise ValueError(f"the header names no movie_id and length, and {first!r} is no length")
    columns = {name: table.column(index, first_row) for name, index in found.items()}
    return pl.DataFrame(columns, schema=dict.fromkeys(columns, pl.String))


def _parse_json(content: Any) -> pl.DataFrame:
    rows = content
    if isinstance(content, dict):
        rows = [{**movie, "movie_id": name} for name, movie in content.items()]
    names = {name for row in rows for name in row if not isinstance(row[name], (dict, list))}
    kept = [{n: str(row[n]) for n in names if row.get(n) is not None} for row in rows]
    schema = dict.fromkeys(sorted(names), pl.String)
    return pl.DataFrame(kept, schema=schema)
