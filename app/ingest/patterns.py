r"""Patterns of the log and of rating tables, and the Polars expressions built from them.

The line parser (Python's `re`) and the vectorised parsers (Polars' Rust engine) share the patterns.
So these use only what both engines have in common: `[0-9]`, because `\d` matches the digits of
other scripts in both, and no anchors, which the user adds (`^`, `$` or `fullmatch`).
"""

import polars as pl

from app.ingest.schemas import TIMESTAMP

#: Maximum length of a movie id in characters; the longest real one seen has 109.
MAX_MOVIE_ID_LENGTH = 200

_DAY = r"([12][0-9]{3}-[0-9]{2}-[0-9]{2})"  # the calendar decides whether the day exists
_CLOCK = r"((?:[01][0-9]|2[0-3]):[0-5][0-9])(?::([0-5][0-9])(?:\.([0-9]{1,9}))?)?"
#: Groups: day, hour and minute, second, fraction. At second :00 the log omits the seconds.
TIME = f"{_DAY}T{_CLOCK}"
USER_ID = r"[0-9]{1,18}"  # fits 64 bits
MOVIE_ID = r"(?:[a-z0-9+_.*-]|%[0-9a-f]{2})+"
MINUTE = r"[0-9]{1,4}"
RATING = r"[0-9]{1,3}"
WATCH_PREFIX = "GET /data/m/"
RATE_PREFIX = "GET /rate/"
ACCOUNT_REQUEST = "GET /create_account"
RECOMMENDATION = (
    r"recommendation request ([^ ,]+), status ([0-9]{1,3}), result: (.*), ([0-9]{1,9}) ms"
)

WATCH_LINE = rf"^{TIME},({USER_ID}),{WATCH_PREFIX}({MOVIE_ID})/({MINUTE})\.mpg$"

# Rating tables come from many programs, so their forms are less strict than the log's.
TABLE_TIME = f"{_DAY}[T ]{_CLOCK}"
TABLE_EPOCH = r"([0-9]{1,11})(?:\.([0-9]{1,9}))?"  # seconds since 1970, with a fraction
TABLE_RATING = r"-?[0-9]{1,3}(?:\.[0-9]{1,9})?"


def parse_time_parts(day: pl.Expr, clock: pl.Expr, second: pl.Expr, fraction: pl.Expr) -> pl.Expr:
    """Convert the four groups of `TIME` to a `TIMESTAMP`; null where there is no such time."""
    text = pl.concat_str(day, pl.lit("T"), clock, pl.lit(":"), second.fill_null("00"))
    whole = text.str.to_datetime("%Y-%m-%dT%H:%M:%S", time_unit="us", strict=False)
    return whole + _parse_fraction(fraction)


def parse_table_time(text: pl.Expr) -> pl.Expr:
    """Convert ISO times or seconds since 1970 to a `TIMESTAMP`; null for any other text."""
    iso = text.str.extract_groups(f"^{TABLE_TIME}$")
    epoch = text.str.extract_groups(f"^{TABLE_EPOCH}$")
    parts = (iso.struct.field(str(number)) for number in range(1, 5))
    seconds = epoch.struct.field("1").cast(pl.Int64)
    since_epoch = pl.from_epoch(seconds, time_unit="s").cast(TIMESTAMP)
    return pl.coalesce(
        parse_time_parts(*parts), since_epoch + _parse_fraction(epoch.struct.field("2"))
    )


def matches(text: pl.Expr, pattern: str) -> pl.Expr:
    """Whether the whole text matches; null where the text is null."""
    return text.str.contains(f"^(?:{pattern})$")


def is_movie_id(text: pl.Expr) -> pl.Expr:
    """`log_parser.is_movie_id` for a column."""
    return matches(text, MOVIE_ID) & (text.str.len_bytes() <= MAX_MOVIE_ID_LENGTH)


def _parse_fraction(fraction: pl.Expr) -> pl.Expr:
    """Convert digits after the decimal point of a second to a duration in whole microseconds."""
    digits = fraction.fill_null("0").str.pad_end(6, "0").str.slice(0, 6)
    return pl.duration(microseconds=digits.cast(pl.Int64))
