"""Tables of ratings as CSV: with a header, or three and four columns mixed in one file."""

import csv
from collections import Counter
from collections.abc import Iterator
from typing import NamedTuple

import polars as pl

from app.ingest import expressions, patterns
from app.ingest.errors import EventsError
from app.ingest.line_reader import Source, split_lines
from app.ingest.log_parser import Scale, may_be_repaired
from app.ingest.schemas import RATING_EVENTS, conform

#: Why a row is refused, in the order in which it is examined.
REASONS = ("fields", "time", "user", "movie", "rating")
#: Refused rows kept of each block and reason, for people to look at.
EXAMPLES = 3

_NAMES = {
    "user": {"user", "userid", "user_id"},
    "movie": {"movie", "movieid", "movie_id"},
    "rating": {"rating"},
    "time": {"time", "timestamp"},
}
_BYTE_ORDER_MARK = "\ufeff"
#: Where a column stands, by what it holds; None: rows of three columns, or four with time first.
Header = dict[str, int] | None


class CsvBlock(NamedTuple):
    """Rows of a table: `RATING_EVENTS`, suspects (see `grammar.Rejected`) among them.

    `reasons` counts the refused, suspects among them too; `examples` shows some of the others.
    """

    ratings: pl.DataFrame
    rows: int
    reasons: Counter[str]
    examples: dict[str, list[str]]


class RatingsTable(NamedTuple):
    """A table whose form is known; made by `open_table`."""

    source: Source
    encoding: str
    header: Header
    width: int

    def blocks(self, scale: Scale) -> Iterator[CsvBlock]:
        """Read the table, block by block.

        Raises:
            EventsError: the file breaks off.
        """
        for number, block in enumerate(self.source.bytes_blocks()):
            lines = split_lines(block.decode(self.encoding))
            if number == 0:
                lines[0] = lines[0].removeprefix(_BYTE_ORDER_MARK)
                lines = lines[1:] if self.header else lines
            yield _read_rows(lines, self, scale)


def open_table(source: Source) -> RatingsTable:
    """Find out how a table is written: UTF-8 or Latin-1, with a header or without.

    Raises:
        EventsError: it cannot be read, or its header lacks a column.
    """
    if source.name == "-":
        raise EventsError("a table of ratings is read twice and cannot be standard input")
    first, encoding = b"", "utf-8"
    with Source(source.name) as again:
        for block in again.bytes_blocks():
            first = first or block
            try:
                block.decode("utf-8")
            except UnicodeDecodeError:
                encoding = "latin-1"
                break
    lines = split_lines(first.decode(encoding).removeprefix(_BYTE_ORDER_MARK))
    names = _split_one(lines[0]) if lines else []
    return RatingsTable(source, encoding, _read_header(source.name, names), len(names))


def _read_header(name: str, fields: list[str]) -> Header:
    found = [field.strip().lower() for field in fields]
    header = {
        what: next(at for at, field in enumerate(found) if field in names)
        for what, names in _NAMES.items()
        if names & set(found)
    }
    if "user" not in header:
        return None
    missing = [what for what in ("movie", "rating") if what not in header]
    if missing:
        raise EventsError(f"{name}: the header has no column {' and no column '.join(missing)}")
    return header


def _read_rows(lines: list[str], table: RatingsTable, scale: Scale) -> CsvBlock:
    frame = pl.DataFrame({"line": lines}, schema={"line": pl.String}).with_columns(
        fields=_split(lines)
    )
    frame = _examine(_select_texts(frame, table.header, table.width), scale)
    sound = frame.filter(pl.col("reason").is_null())
    unsound = frame.filter(pl.col("reason") == "movie", pl.col("rating").is_not_null())
    ids = [movie for movie in unsound["movie_id"].unique().to_list() if may_be_repaired(movie)]
    suspects = unsound.filter(pl.col("movie_id").is_in(ids))
    refused = frame.filter(pl.col("reason").is_not_null())
    hopeless = refused.join(suspects, on="line", how="anti") if ids else refused
    some = pl.col("line").head(EXAMPLES).str.head(200)
    shown = hopeless.group_by("reason", maintain_order=True).agg(some)
    return CsvBlock(
        conform(pl.concat([sound, suspects]), RATING_EVENTS),
        len(lines),
        Counter(dict(refused.group_by("reason").len().iter_rows())),
        dict(shown.iter_rows()),
    )


def _split(lines: list[str]) -> pl.Series:
    if any('"' in line for line in lines):
        return pl.Series(list(map(_split_one, lines)), dtype=pl.List(pl.String))
    return pl.Series(lines, dtype=pl.String).str.split(",")


def _split_one(line: str) -> list[str]:
    try:
        return next(csv.reader((line,)), [])
    except csv.Error:  # a field beyond what the csv module takes
        return []


def _select_texts(frame: pl.DataFrame, header: Header, width: int) -> pl.DataFrame:
    """The texts of user_id, movie_id, rating and time; all null where the width is wrong."""
    fields, count = pl.col("fields"), pl.col("fields").list.len()
    if header is None:
        right, first = count.is_between(3, 4), count.cast(pl.Int64) - 3
        places = {"user_id": first, "movie_id": first + 1, "rating": first + 2}
        time = pl.when(count == 4).then(fields.list.get(0, null_on_oob=True))  # noqa: PLR2004
    else:
        right = count == width
        places = {f"{k}_id": pl.lit(header[k]) for k in ("user", "movie")}
        places["rating"] = pl.lit(header["rating"])
        time = pl.when("time" in header).then(
            fields.list.get(header.get("time", 0), null_on_oob=True)
        )
    texts = {name: fields.list.get(at, null_on_oob=True) for name, at in places.items()}
    texts["time"] = pl.when(time != "").then(time)  # an empty time is no time, not a wrong one
    return frame.select("line", **{name: pl.when(right).then(t) for name, t in texts.items()})


def _examine(frame: pl.DataFrame, scale: Scale) -> pl.DataFrame:
    """Texts to values, and the first `reason` against a row; null where there is none."""
    user, movie = pl.col("user_id"), pl.col("movie_id")
    number = pl.when(expressions.fits(pl.col("rating"), patterns.TABLE_RATING)).then(
        pl.col("rating")
    )
    rating = number.cast(pl.Float64)
    time = expressions.table_moment(pl.col("time"))
    return frame.with_columns(
        reason=pl.when(user.is_null())
        .then(pl.lit("fields"))
        .when(pl.col("time").is_not_null() & time.is_null())
        .then(pl.lit("time"))
        .when(~expressions.fits(user, patterns.USER))
        .then(pl.lit("user"))
        .when(~expressions.is_movie_id(movie))
        .then(pl.lit("movie"))
        .when(~rating.is_between(scale.lowest, scale.highest).fill_null(False))
        .then(pl.lit("rating")),
        user_id=pl.when(expressions.fits(user, patterns.USER)).then(user).cast(pl.Int64),
        rating=pl.when(rating.is_between(scale.lowest, scale.highest)).then(rating),
        time=time,
    )
