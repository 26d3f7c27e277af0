"""The grammar's checks for whole columns of text, as Polars expressions."""

import polars as pl

from app.events import patterns


def moment(day: pl.Expr, minute: pl.Expr, second: pl.Expr, fraction: pl.Expr) -> pl.Expr:
    """The four groups of `patterns.TIME` as a Datetime in microseconds; null: no such moment."""
    text = pl.concat_str(day, pl.lit("T"), minute, pl.lit(":"), second.fill_null("00"))
    micros = fraction.fill_null("0").str.pad_end(6, "0").str.slice(0, 6).cast(pl.Int64)
    whole = text.str.to_datetime("%Y-%m-%dT%H:%M:%S", time_unit="us", strict=False)
    return whole + pl.duration(microseconds=micros)


def fits(text: pl.Expr, pattern: str) -> pl.Expr:
    """Whether the whole text matches; null where there is no text."""
    return text.str.contains(f"^(?:{pattern})$")


def is_movie_id(text: pl.Expr) -> pl.Expr:
    """`grammar.is_movie_id`, for a column."""
    return fits(text, patterns.MOVIE) & (text.str.len_bytes() <= patterns.MOVIE_LENGTH)
