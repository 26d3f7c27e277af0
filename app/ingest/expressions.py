"""The grammar's checks for whole columns of text, as Polars expressions."""

import polars as pl

from app.ingest import patterns
from app.ingest.schemas import MOMENT


def moment(day: pl.Expr, clock: pl.Expr, second: pl.Expr, fraction: pl.Expr) -> pl.Expr:
    """The four groups of `patterns.TIME` as a Datetime in microseconds; null: no such moment."""
    text = pl.concat_str(day, pl.lit("T"), clock, pl.lit(":"), second.fill_null("00"))
    whole = text.str.to_datetime("%Y-%m-%dT%H:%M:%S", time_unit="us", strict=False)
    return whole + _microseconds(fraction)


def table_moment(text: pl.Expr) -> pl.Expr:
    """A time in a table, ISO or seconds since 1970; null: none of these."""
    iso = text.str.extract_groups(f"^{patterns.TABLE_TIME}$")
    epoch = text.str.extract_groups(f"^{patterns.TABLE_EPOCH}$")
    groups = (iso.struct.field(str(number)) for number in range(1, 5))
    seconds = epoch.struct.field("1").cast(pl.Int64)
    since = pl.from_epoch(seconds, time_unit="s").cast(MOMENT)
    return pl.coalesce(moment(*groups), since + _microseconds(epoch.struct.field("2")))


def _microseconds(fraction: pl.Expr) -> pl.Expr:
    digits = fraction.fill_null("0").str.pad_end(6, "0").str.slice(0, 6)
    return pl.duration(microseconds=digits.cast(pl.Int64))


def fits(text: pl.Expr, pattern: str) -> pl.Expr:
    """Whether the whole text matches; null where there is no text."""
    return text.str.contains(f"^(?:{pattern})$")


def is_movie_id(text: pl.Expr) -> pl.Expr:
    """`grammar.is_movie_id`, for a column."""
    return fits(text, patterns.MOVIE) & (text.str.len_bytes() <= patterns.MOVIE_LENGTH)
