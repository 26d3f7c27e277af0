"""Parse CSV tables of ratings: with a header, or rows of three and four columns mixed."""

import csv
from collections import Counter
from collections.abc import Iterator
from itertools import chain
from typing import NamedTuple

import polars as pl

from app.ingest import patterns
from app.ingest.errors import IngestError
from app.ingest.line_reader import LineReader, split_lines
from app.ingest.log_parser import RatingScale, is_repairable
from app.ingest.schemas import RATING_EVENTS, conform

#: Why a row is rejected, in the order of the checks.
REASONS = ("fields", "time", "user", "movie", "rating")
#: Rejected rows of each batch and reason that are kept as examples for the log.
MAX_EXAMPLES = 3
_MAX_EXAMPLE_LENGTH = 200

_COLUMN_NAMES = {
    "user": {"user", "userid", "user_id"},
    "movie": {"movie", "movieid", "movie_id"},
    "rating": {"rating"},
    "time": {"time", "timestamp"},
}
#: Column number by content; None: no header, and rows of three columns, or four with time first.
Header = dict[str, int] | None


class RatingsBatch(NamedTuple):
    """The ratings of a batch of rows.

    Attributes:
        ratings: `RATING_EVENTS`, with repairable events (see `log_parser.InvalidLine`).
        rows: number of rows of the batch.
        reasons: rejected rows by reason, repairable events included.
        examples: some rejected rows by reason, without repairable events.
    """

    ratings: pl.DataFrame
    rows: int
    reasons: Counter[str]
    examples: dict[str, list[str]]


class RatingsTable:
    """A table of ratings whose first lines are read, so that its header is known.

    It is read once, so that it may be a pipe: as UTF-8, or as Latin-1 from the first chunk on that
    is not UTF-8.

    Attributes:
        reader: the open file.
        header: column number by content; None without a header.
        columns: number of columns of the first row.

    Raises:
        IngestError: the file cannot be read, or its header lacks a column.
    """

    def __init__(self, reader: LineReader) -> None:
        self.reader = reader
        self._encoding = "utf-8"
        self._batches = self._decode_batches()
        self._first = next(self._batches, [])
        names = _split_row(self._first[0]) if self._first else []
        self.header, self.columns = _parse_header(reader.name, names), len(names)

    def read_batches(self, scale: RatingScale) -> Iterator[RatingsBatch]:
        """Read and parse the table in batches; call it once.

        Raises:
            IngestError: the file cannot be read to its end.
        """
        first = self._first[1:] if self.header else self._first
        for lines in chain([first] if self._first else [], self._batches):
            yield _parse_rows(lines, self, scale)

    def _decode_batches(self) -> Iterator[list[str]]:
        for chunk in self.reader.read_chunks():
            try:
                text = chunk.decode(self._encoding)
            except UnicodeDecodeError:
                self._encoding = "latin-1"
                text = chunk.decode(self._encoding)
            yield split_lines(text)


def _parse_header(file: str, fields: list[str]) -> Header:
    names = [field.strip().lower() for field in fields]
    header = {
        content: next(number for number, name in enumerate(names) if name in known)
        for content, known in _COLUMN_NAMES.items()
        if known & set(names)
    }
    if "user" not in header:
        return None
    missing = [content for content in ("movie", "rating") if content not in header]
    if missing:
        raise IngestError(f"{file}: the header has no column {' and no column '.join(missing)}")
    return header


def _parse_rows(lines: list[str], table: RatingsTable, scale: RatingScale) -> RatingsBatch:
    frame = pl.DataFrame({"line": lines}, schema={"line": pl.String}).with_columns(
        fields=_split_rows(lines)
    )
    frame = _parse_fields(_select_fields(frame, table.header, table.columns), scale)
    valid = frame.filter(pl.col("reason").is_null())
    rejected = frame.filter(pl.col("reason").is_not_null())
    wrong_id = frame.filter(pl.col("reason") == "movie", pl.col("rating").is_not_null())
    ids = [movie for movie in wrong_id["movie_id"].unique().to_list() if is_repairable(movie)]
    repairable = wrong_id.filter(pl.col("movie_id").is_in(ids))
    unrepairable = rejected.join(repairable, on="line", how="anti") if ids else rejected
    first_lines = pl.col("line").head(MAX_EXAMPLES).str.head(_MAX_EXAMPLE_LENGTH)
    examples = unrepairable.group_by("reason", maintain_order=True).agg(first_lines)
    return RatingsBatch(
        conform(pl.concat([valid, repairable]), RATING_EVENTS),
        len(lines),
        Counter(dict(rejected.group_by("reason").len().iter_rows())),
        dict(examples.iter_rows()),
    )


def _split_rows(lines: list[str]) -> pl.Series:
    """Split rows into fields; the csv module is only needed where there are quotes."""
    if any('"' in line for line in lines):
        return pl.Series(list(map(_split_row, lines)), dtype=pl.List(pl.String))
    return pl.Series(lines, dtype=pl.String).str.split(",")


def _split_row(line: str) -> list[str]:
    try:
        return next(csv.reader((line,)), [])
    except csv.Error:  # a field longer than the csv module's limit
        return []


def _select_fields(frame: pl.DataFrame, header: Header, columns: int) -> pl.DataFrame:
    """Return user_id, movie_id, rating and time as text; null where the row's length is wrong."""
    fields, count = pl.col("fields"), pl.col("fields").list.len()
    if header is None:
        is_complete, first = count.is_between(3, 4), count.cast(pl.Int64) - 3
        numbers = {"user_id": first, "movie_id": first + 1, "rating": first + 2}
        time = pl.when(count == 4).then(fields.list.get(0, null_on_oob=True))  # noqa: PLR2004
    else:
        is_complete = count == columns
        numbers = {f"{k}_id": pl.lit(header[k]) for k in ("user", "movie")}
        numbers["rating"] = pl.lit(header["rating"])
        time = pl.when("time" in header).then(
            fields.list.get(header.get("time", 0), null_on_oob=True)
        )
    texts = {name: fields.list.get(number, null_on_oob=True) for name, number in numbers.items()}
    texts["time"] = pl.when(time != "").then(time)  # an empty time is missing, not invalid
    return frame.select("line", **{name: pl.when(is_complete).then(t) for name, t in texts.items()})


def _parse_fields(frame: pl.DataFrame, scale: RatingScale) -> pl.DataFrame:
    """Convert the texts; add the first `reason` to reject the row, or null."""
    user, movie = pl.col("user_id"), pl.col("movie_id")
    number = pl.when(patterns.matches(pl.col("rating"), patterns.TABLE_RATING)).then(
        pl.col("rating")
    )
    rating = number.cast(pl.Float64)
    on_scale = rating.is_between(scale.min_rating, scale.max_rating)
    time = patterns.parse_table_time(pl.col("time"))
    return frame.with_columns(
        reason=pl.when(user.is_null())
        .then(pl.lit("fields"))
        .when(pl.col("time").is_not_null() & time.is_null())
        .then(pl.lit("time"))
        .when(~patterns.matches(user, patterns.USER_ID))
        .then(pl.lit("user"))
        .when(~patterns.is_movie_id(movie))
        .then(pl.lit("movie"))
        .when(~on_scale.fill_null(False))
        .then(pl.lit("rating")),
        user_id=pl.when(patterns.matches(user, patterns.USER_ID)).then(user).cast(pl.Int64),
        rating=pl.when(on_scale).then(rating),
        time=time,
    )
