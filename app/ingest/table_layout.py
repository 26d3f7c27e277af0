"""Find the layout of a text table of ratings: delimiter, header, and the column of each field.

Names decide where there is a header. Without one, the order of the columns is the one that the
first rows are plausible for; where there is none, the table is refused: a table that is understood
wrongly would train a wrong model.
"""

import csv
import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import datetime

from app.ingest import patterns
from app.ingest.errors import IngestError
from app.ingest.log_parser import RatingScale

FIELDS = ("user", "movie", "rating", "time")
_REQUIRED = ("user", "movie", "rating")
#: Lower-case names without punctuation, and without a type such as `:token` (RecBole).
NAMES = {
    "user": {"user", "userid", "uid", "customer", "customerid", "reviewerid", "memberid"},
    "movie": {"movie", "movieid", "mid", "item", "itemid", "iid", "asin", "show", "showid"},
    "rating": {"rating", "ratings", "score", "stars", "overall", "userrating", "ratingvalue"},
    "time": {"time", "timestamp", "date", "datetime", "ts", "ratedat", "unixreviewtime"},
}
_DELIMITERS = (",", "\t", ";", "::", "|")
#: Lines before the first row that begin so are skipped.
_COMMENT = "#"
_SAMPLE_ROWS = 1000
#: Orders of the columns of a table without header, by number of columns.
_ORDERS = {
    3: (("user", "movie", "rating"),),
    4: (("time", "user", "movie", "rating"), ("user", "movie", "rating", "time")),
}


@dataclass(frozen=True)
class Layout:
    """How the rows of a table are read.

    Attributes:
        delimiter: text between two fields.
        skipped_lines: lines before the first row: blank lines, comments and the header.
        orders: field names by number of columns.
        ignored_time: name of a column that looks like a time and is not read; None without one.
    """

    delimiter: str
    skipped_lines: int
    orders: dict[int, tuple[str | None, ...]]
    ignored_time: str | None = None


def find_layout(file: str, lines: Sequence[str], scale: RatingScale) -> Layout:
    """Find the layout of a table from its first lines.

    Args:
        file: name of the file, for errors.
        lines: its first lines, without their ends.
        scale: lowest and highest rating.

    Raises:
        IngestError: the header lacks a column or names one twice, or rows without a header are
            plausible in two orders or in none.
    """
    skipped = 0
    while skipped < len(lines) and is_skipped(lines[skipped]):
        skipped += 1
    sample = [line for line in lines[skipped : skipped + _SAMPLE_ROWS] if not is_skipped(line)]
    delimiter = find_delimiter(sample, len(_REQUIRED))
    rows = [split_row(line, delimiter) for line in sample]
    header = [_find_field(name) for name in rows[0]] if rows else []
    if "user" in header or (any(header) and not _has_values(rows[0])):
        return _with_header(file, rows, header, delimiter, skipped)
    is_unknown_header = (
        len(rows[:1]) and len(rows[0]) >= len(_REQUIRED) and not _has_values(rows[0])
    )
    if is_unknown_header and any(map(_has_values, rows[1:])):
        raise IngestError(
            f"{file}: the first row has no values, and names no column user, movie or rating"
        )
    return Layout(delimiter, skipped, _find_orders(file, rows, scale))


def split_row(line: str, delimiter: str) -> list[str]:
    """Split a row into fields, with quotes as in CSV; empty if it is too long for a row."""
    if len(delimiter) > 1 or '"' not in line:
        return line.split(delimiter)
    try:
        return next(csv.reader((line,), delimiter=delimiter), [])
    except csv.Error:  # a field longer than the csv module's limit
        return []


def is_skipped(line: str) -> bool:
    """Whether a line before the first row is blank or a comment."""
    return not line.strip() or line.startswith(_COMMENT)


def find_delimiter(sample: Sequence[str], min_columns: int) -> str:
    """Return the delimiter that gives most of the sampled rows enough columns.

    Of several that do, it is the one that gives the first row the most known names: the texts of
    a table may contain any other.
    """

    def rank(delimiter: str) -> tuple[int, int]:
        rows = [split_row(line, delimiter) for line in sample]
        names = sum(_find_field(name) is not None for name in rows[0]) if rows else 0
        return sum(len(row) >= min_columns for row in rows), names

    return max(_DELIMITERS, key=rank)


def plain_name(name: str) -> str:
    """Return a column's name in lower case, without punctuation and type."""
    return re.sub(r"[^a-z0-9]", "", name.partition(":")[0].lower())


def _find_field(name: str) -> str | None:
    plain = plain_name(name)
    return next((field for field, names in NAMES.items() if plain in names), None)


def _has_values(row: list[str]) -> bool:
    """Whether a field of a row is a number or a time, so that the row is no header."""
    return any(
        re.fullmatch(patterns.TABLE_RATING, text.strip()) or _is_time(text.strip()) for text in row
    )


def _with_header(
    file: str, rows: list[list[str]], header: list[str | None], delimiter: str, skipped: int
) -> Layout:
    names = [name.strip() for name in rows[0]]
    if missing := [field for field in _REQUIRED if field not in header]:
        raise IngestError(f"{file}: the header has no column {' and no column '.join(missing)}")
    for field in FIELDS:
        same = [name for name, found in zip(names, header, strict=True) if found == field]
        if len(same) > 1:
            raise IngestError(f"{file}: the columns {' and '.join(same)} could both be the {field}")
    ignored = [
        name
        for column, name in enumerate(names)
        if header[column] is None and looks_like_time(rows[1:], column)
    ]
    orders = {len(header): tuple(header)}
    return Layout(delimiter, skipped + 1, orders, ignored[0] if ignored else None)


def _find_orders(
    file: str, rows: list[list[str]], scale: RatingScale
) -> dict[int, tuple[str | None, ...]]:
    """Return the order of the fields in rows of three and four columns.

    Raises:
        IngestError: the rows are plausible in two orders, or in none.
    """
    orders: dict[int, tuple[str | None, ...]] = {}
    has_plausible_rows = False
    for columns, candidates in _ORDERS.items():
        same = [row for row in rows if len(row) == columns]
        plausible = [order for order in candidates if same and _is_plausible(same, order, scale)]
        if len(plausible) > 1:
            raise IngestError(
                f"{file}: rows of {columns} columns could be "
                f"{' or '.join(', '.join(order) for order in plausible)}; add a header with the "
                "names user, movie, rating and time"
            )
        has_plausible_rows |= bool(plausible)
        orders[columns] = (plausible or candidates)[0]
    if not has_plausible_rows and any(len(row) in _ORDERS for row in rows):
        raise IngestError(
            f"{file}: most rows are not user, movie and a rating from {scale.min_rating} to "
            f"{scale.max_rating} (MARQUEE_RATING_MIN, MARQUEE_RATING_MAX), with a time first or "
            "last, if any; a header with the names user, movie, rating and time allows any order"
        )
    return orders


def looks_like_time(rows: list[list[str]], column: int) -> bool:
    """Return whether most of the rows have a time in a column."""
    return any(len(row) > column for row in rows) and _most(rows, column, _is_time)


def _is_plausible(rows: list[list[str]], order: tuple[str, ...], scale: RatingScale) -> bool:
    """Return whether most rows have a value of each field's form in its column."""

    def is_rating(text: str) -> bool:
        number = re.fullmatch(patterns.TABLE_RATING, text)
        return number is not None and scale.min_rating <= float(text) <= scale.max_rating

    forms: dict[str, Callable[[str], bool]] = {
        "user": lambda text: re.fullmatch(patterns.TABLE_USER_ID, text) is not None,
        "movie": lambda text: bool(text) and not _is_iso_time(text),
        "rating": is_rating,
        "time": lambda text: not text or _is_time(text),
    }
    return all(_most(rows, column, forms[field]) for column, field in enumerate(order))


def _most(rows: list[list[str]], column: int, has_form: Callable[[str], bool]) -> bool:
    """Return whether at least half of the rows have a field of a form in a column."""
    values = [row[column].strip() for row in rows if len(row) > column]
    return sum(map(has_form, values)) * 2 >= len(values)


def _is_time(text: str) -> bool:
    """Return whether a text is an ISO time, or a number of s, ms, us or ns that is after 1990."""
    if re.fullmatch(r"[0-9]{9,19}(\.[0-9]*)?", text):
        return float(text) >= datetime(1990, 1, 1).timestamp()
    return _is_iso_time(text)


def _is_iso_time(text: str) -> bool:
    return re.match(r"[12][0-9]{3}-[0-9]{2}-[0-9]{2}([T ]|$)", text) is not None
