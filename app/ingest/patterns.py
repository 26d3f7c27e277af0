r"""Patterns of the log and of rating tables, and the Polars expressions built from them.

The line parser (Python's `re`) and the vectorised parsers (Polars' Rust engine) share the patterns.
So these use only what both engines have in common: `[0-9]`, because `\d` matches the digits of
other scripts in both, and no anchors, which the user adds (`^`, `$` or `fullmatch`).
"""

import polars as pl

from app.ingest.schemas import TIMESTAMP
from app.movie_ids import lower_escapes

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
_TABLE_CLOCK = r"((?:[01][0-9]|2[0-3]):[0-5][0-9])(?::([0-5][0-9])(?:\.([0-9]{0,30}))?)?"
_ZONE = r"(Z|[+-][0-9]{2}:?[0-9]{2})"
#: Groups: day, hour and minute, second, fraction, zone. A day alone is its midnight.
TABLE_TIME = f"{_DAY}(?:[T ]{_TABLE_CLOCK} ?{_ZONE}?)?"
#: Groups: a number since 1970, and a fraction of it. The number of digits tells the unit.
TABLE_EPOCH = r"([0-9]{1,19})(?:\.([0-9]{0,30}))?"
#: Most digits of a number of each unit; a longer one counts nanoseconds.
_SECONDS, _MILLISECONDS, _MICROSECONDS = 11, 14, 17
TABLE_RATING = r"[+-]?(?:[0-9]{1,9}(?:\.[0-9]{0,30})?|\.[0-9]{1,30})(?:[eE][+-]?[0-9]{1,2})?"
#: Programs that know missing numbers print whole numbers with a point.
TABLE_USER_ID = rf"({USER_ID})(?:\.0{{0,9}})?"


def parse_time_parts(day: pl.Expr, clock: pl.Expr, second: pl.Expr, fraction: pl.Expr) -> pl.Expr:
    """Convert the four groups of `TIME` to a `TIMESTAMP`; null where there is no such time."""
    text = pl.concat_str(day, pl.lit("T"), clock, pl.lit(":"), second.fill_null("00"))
    whole = text.str.to_datetime("%Y-%m-%dT%H:%M:%S", time_unit="us", strict=False)
    return whole + _parse_fraction(fraction)


def parse_table_time(text: pl.Expr) -> pl.Expr:
    """Convert ISO times, or numbers since 1970, to a `TIMESTAMP`; null for any other text.

    A time with a zone becomes UTC.
    """
    iso = text.str.extract_groups(f"^{TABLE_TIME}$")
    day, clock, second, fraction, zone = (iso.struct.field(str(n)) for n in range(1, 6))
    time = parse_time_parts(day, clock.fill_null("00:00"), second, fraction)
    return pl.coalesce(time - _parse_zone(zone), _parse_epoch(text))


def _parse_zone(zone: pl.Expr) -> pl.Expr:
    """Convert `Z`, `+05:30` or `-0800` to its offset from UTC; null is UTC."""
    digits = zone.str.replace_all("[Z:]", "")
    hours, minutes = digits.str.slice(1, 2).cast(pl.Int64), digits.str.slice(3, 2).cast(pl.Int64)
    sign = pl.when(digits.str.starts_with("-")).then(-1).otherwise(1)
    has_offset = digits.str.len_chars() > 0
    return (
        pl.when(has_offset)
        .then(pl.duration(minutes=sign * (hours * 60 + minutes)))
        .otherwise(pl.duration(minutes=0))
    )


def _parse_epoch(text: pl.Expr) -> pl.Expr:
    """Convert seconds, milliseconds, microseconds or nanoseconds since 1970 to a `TIMESTAMP`."""
    epoch = text.str.extract_groups(f"^{TABLE_EPOCH}$")
    number, fraction = epoch.struct.field("1"), epoch.struct.field("2")
    digits, value = number.str.len_chars(), number.cast(pl.Int64, strict=False)
    seconds = pl.from_epoch(value, time_unit="s").cast(TIMESTAMP) + _parse_fraction(fraction)
    time = (value // 1000).cast(TIMESTAMP)
    for unit, time_in_unit in (
        (_MICROSECONDS, value.cast(TIMESTAMP)),
        (_MILLISECONDS, (value * 1000).cast(TIMESTAMP)),
        (_SECONDS, seconds),
    ):
        time = pl.when(digits <= unit).then(time_in_unit).otherwise(time)
    return time


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


def lower_escapes_in(frame: pl.DataFrame) -> pl.DataFrame:
    """Replace the ids in the column `movie_id` that have `%` by their one spelling."""
    movie = pl.col("movie_id")
    escaped = frame.filter(movie.str.contains("%", literal=True))["movie_id"].unique().to_list()
    spellings = {text: lower_escapes(text) for text in escaped}
    return frame.with_columns(movie.replace(spellings)) if spellings else frame
