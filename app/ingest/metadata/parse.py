"""Parse responses of the metadata API to rows of the tables `users` and `movies`.

Older editions of the API send {} or "null" for missing values, and numbers as text.
"""

import math
from typing import Any

import polars as pl

from app.ingest.schemas import TIMESTAMP, Schema

Row = dict[str, Any]
#: Time of the request (UTC). The columns of the API are null where it does not know the id.
REQUESTED_AT = "requested_at"
#: Whether the request had no usable response; the id is requested again by the next run.
FAILED = "failed"
USERS: Schema = {
    "user_id": pl.Int64(),
    "age": pl.Int64(),
    "gender": pl.String(),
    "occupation": pl.String(),
    REQUESTED_AT: TIMESTAMP,
    FAILED: pl.Boolean(),
}
MOVIES: Schema = {
    "movie_id": pl.String(),
    "runtime_minutes": pl.Float32(),
    "title": pl.String(),
    "genres": pl.String(),
    "language": pl.String(),
    "release_date": pl.String(),
    "vote_average": pl.Float32(),
    "vote_count": pl.Int64(),
    REQUESTED_AT: TIMESTAMP,
    FAILED: pl.Boolean(),
}
_MISSING_TEXTS = ("", "null", "none", "nan")
#: Longer texts are cut; what the API sends is not under our control.
_MAX_TEXT_LENGTH = 500
_MAX_NUMBER = 2**53


def parse_user(fields: Row) -> Row:
    """Parse the API's object of a user.

    Raises:
        ValueError: a text is not valid Unicode.
    """
    age = parse_number(fields.get("age"))
    return {
        "age": None if age is None else int(age),
        "gender": parse_text(fields.get("gender")),
        "occupation": parse_text(fields.get("occupation")),
    }


def parse_movie(fields: Row) -> Row:
    """Parse the API's object of a movie; a runtime of 0 means unknown.

    Raises:
        ValueError: a text is not valid Unicode.
    """
    votes = parse_number(fields.get("vote_count"))
    return {
        "runtime_minutes": parse_number(fields.get("runtime")) or None,
        "title": parse_text(fields.get("title")),
        "genres": _parse_genres(fields.get("genres")),
        "language": parse_text(fields.get("original_language")),
        "release_date": parse_text(fields.get("release_date")),
        "vote_average": parse_number(fields.get("vote_average")),
        "vote_count": None if votes is None else int(votes),
    }


def parse_number(value: Any) -> float | None:
    """Parse a number from 0 on, which may be a text; return None for anything else."""
    if isinstance(value, bool) or not isinstance(value, int | float | str):
        return None
    try:
        number = float(value)
    except (ValueError, OverflowError):
        return None
    return number if math.isfinite(number) and 0 <= number < _MAX_NUMBER else None


def parse_text(value: Any) -> str | None:
    """Parse a text; return None for anything else and for texts that mean a missing value.

    Raises:
        ValueError: it contains half of a surrogate pair, which no file can store.
    """
    if not isinstance(value, str) or value.strip().lower() in _MISSING_TEXTS:
        return None
    text = value.strip()[:_MAX_TEXT_LENGTH]
    text.encode()
    return text


def _parse_genres(value: Any) -> str | None:
    genres = value if isinstance(value, list) else []
    names = [parse_text(genre.get("name")) for genre in genres if isinstance(genre, dict)]
    return "|".join(name for name in names if name) or None


def match_rows(ids: list[str], response: Any, id_keys: tuple[str, ...]) -> dict[str, Row] | None:
    """Assign the objects of a response to the requested ids.

    Args:
        ids: the requested ids.
        response: a list of objects, an object of objects by id, or the object of the only id.
        id_keys: names of the id in an object.

    Returns:
        Objects by id, without the unknown ones; None where a single object answers a batch (that
        edition of the API accepts no batches and read the first id only) or in other formats.
    """
    if isinstance(response, list):
        objects = [row for row in response if isinstance(row, dict)]
        rows = {str(next((row[k] for k in id_keys if k in row), "")): row for row in objects}
    elif isinstance(response, dict) and set(response) & set(ids):
        rows = {name: row for name, row in response.items() if isinstance(row, dict)}
    elif isinstance(response, dict) and len(ids) == 1:
        rows = {ids[0]: response} if set(response) & set(id_keys) else {}
    else:
        return None
    return {name: rows[name] for name in ids if name in rows}
