"""The API's answers to rows of our tables, whichever edition gave them.

Older answers put {} or "null" where newer ones put null, and numbers as text.
"""

import math
from typing import Any

import polars as pl

from app.ingest.schemas import TIMESTAMP, Schema

Row = dict[str, Any]
#: When it was asked; a row of nulls otherwise is something that the API does not know.
ASKED = "asked"
USERS: Schema = {
    "user_id": pl.Int64(),
    "age": pl.Int64(),
    "gender": pl.String(),
    "occupation": pl.String(),
    ASKED: TIMESTAMP,
}
MOVIES: Schema = {
    "movie_id": pl.String(),
    "length": pl.Float32(),
    "title": pl.String(),
    "genres": pl.String(),
    "language": pl.String(),
    "release_date": pl.String(),
    "vote_average": pl.Float32(),
    "vote_count": pl.Int64(),
    ASKED: TIMESTAMP,
}
_NOTHING = ("", "null", "none", "nan")
#: More than any text of interest; the API is somebody else's.
_LONGEST = 500
_MOST = 2**53


def user_row(answer: Row) -> Row:
    """A user's attributes."""
    age = number(answer.get("age"))
    return {
        "age": None if age is None else int(age),
        "gender": text(answer.get("gender")),
        "occupation": text(answer.get("occupation")),
    }


def movie_row(answer: Row) -> Row:
    """A movie's attributes; a length of 0 is none."""
    length, votes = number(answer.get("runtime")), number(answer.get("vote_count"))
    return {
        "length": length or None,
        "title": text(answer.get("title")),
        "genres": _names(answer.get("genres")),
        "language": text(answer.get("original_language")),
        "release_date": text(answer.get("release_date")),
        "vote_average": number(answer.get("vote_average")),
        "vote_count": None if votes is None else int(votes),
    }


def number(value: Any) -> float | None:
    """A number, also one that came as text; None for anything else."""
    if isinstance(value, bool) or not isinstance(value, int | float | str):
        return None
    try:
        found = float(value)
    except (ValueError, OverflowError):
        return None
    return found if math.isfinite(found) and 0 <= found < _MOST else None


def text(value: Any) -> str | None:
    """A text that says something; None for anything else."""
    if not isinstance(value, str) or value.strip().lower() in _NOTHING:
        return None
    return value.strip()[:_LONGEST]


def _names(value: Any) -> str | None:
    genres = value if isinstance(value, list) else []
    names = [text(genre.get("name")) for genre in genres if isinstance(genre, dict)]
    return "|".join(name for name in names if name) or None


def pair_up(asked: list[str], answer: Any, keys: tuple[str, ...]) -> dict[str, Row] | None:
    """What an answer tells of each id: a list of objects, objects by id, or the one asked for.

    None where one object answers for many: an edition that takes no batches, and read the first.
    """
    if isinstance(answer, list):
        objects = [row for row in answer if isinstance(row, dict)]
        rows = {str(next((row[k] for k in keys if k in row), "")): row for row in objects}
    elif isinstance(answer, dict) and set(answer) & set(asked):
        rows = {name: row for name, row in answer.items() if isinstance(row, dict)}
    elif isinstance(answer, dict) and len(asked) == 1:
        rows = {asked[0]: answer} if set(answer) & set(keys) else {}
    else:
        return None
    return {name: rows[name] for name in asked if name in rows}
