"""Find the layout of a text table of ratings: delimiter, header, and the column of each field.

Names decide where there is a header. Without one, the order of the columns is the one that the
first rows are plausible for: a table that is understood wrongly would train a wrong model.
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
_NAMES = {
    "user": {"user", "userid", "uid", "customer", "customerid", "reviewerid", "memberid"},
    "movie": {"movie", "movieid", "mid", "item", "itemid", "iid", "asin", "show", "showid"},
    "rating": {"rating", "ratings", "score", "stars", "overall", "userrating", "ratingvalue"},
    "time": {"time", "timestamp", "date", "datetime", "ts", "ratedat", "unixreviewtime"},
}
_DELIMITERS = (",", "\t", ";", "::", "|")
#: Lines before the first row that begin so are skipped.
_COMMENT = "#"
_SAMPLE_ROWS = 50
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
            plausible in two orders.
    """
    skipped = 0
    while skipped < len(lines) and _is_skipped(lines[skipped]):
        skipped += 1
    sample = [line for line in lines[skipped : skipped + _SAMPLE_ROWS] if not _is_skipped(line)]
    delimiter = _find_delimiter(sample)
    rows = [split_row(line, delimiter) for line in sample]
    header = [_find_field(name) for name in rows[0]] if rows else []
    if "user" in header:
        return _with_header(file, rows, header, delimiter, skipped)
    return Layout(delimiter, skipped, _find_orders(file, rows, scale))


def split_row(line: str, delimiter: str) -> list[str]:
    """Split a row into fields, with quotes as in CSV; empty if it is too long for a row."""
    if len(delimiter) > 1 or '"' not in line:
        return line.split(delimiter)
    try:
        return next(csv.reader((line,), delimiter=delimiter), [])
    except csv.Error:  # a field longer than the csv module's limit
        return []


def _is_skipped(line: str) -> bool:
    return not line.strip() or line.startswith(_COMMENT)


def _find_delimiter(sample: list[str]) -> str:
    """Return the delimiter that gives most of the sampled rows three columns or more."""

    def count_rows(delimiter: str) -> int:
        return sum(len(split_row(line, delimiter)) >= len(_REQUIRED) for line in sample)

    return max(_DELIMITERS, key=count_rows)


def _find_field(name: str) -> str | None:
    plain = re.sub(r"[^a-z0-9]", "", name.partition(":")[0].lower())
    return next((field for field, names in _NAMES.items() if plain in names), None)


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
        if "time" not in header and header[column] is None and _most(rows[1:], column, _is_time)
    ]
    orders = {len(header): tuple(header)}
    return Layout(delimiter, skipped + 1, orders, ignored[0] if ignored else None)


def _find_orders(
    file: str, rows: list[list[str]], scale: RatingScale
) -> dict[int, tuple[str | None, ...]]:
    """Return the order of the fields in rows of three and four columns."""
    orders: dict[int, tuple[str | None, ...]] = {}
    for columns, candidates in _ORDERS.items():
        same = [row for row in rows if len(row) == columns]
        plausible = [order for order in candidates if same and _is_plausible(same, order, scale)]
        if len(plausible) > 1:
            raise IngestError(
                f"{file}: rows of {columns} columns could be "
                f"{' or '.join(', '.join(order) for order in plausible)}; add a header with the "
                "names user, movie, rating and time"
            )
        orders[columns] = (plausible or candidates)[0]
    return orders


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
    """Return whether most of the rows have a field of a form in a column."""
    values = [row[column].strip() for row in rows if len(row) > column]
    return sum(map(has_form, values)) * 2 > len(values)


def _is_time(text: str) -> bool:
    """Return whether a text is an ISO time, or a number of s, ms, us or ns that is after 1990."""
    if re.fullmatch(r"[0-9]{9,19}(\.[0-9]*)?", text):
        return float(text) >= datetime(1990, 1, 1).timestamp()
    return _is_iso_time(text)


def _is_iso_time(text: str) -> bool:
    return re.match(r"[12][0-9]{3}-[0-9]{2}-[0-9]{2}([T ]|$)", text) is not None
