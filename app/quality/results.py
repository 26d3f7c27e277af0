"""Results of `marquee quality`: rows of the database, and the table that people read."""

import time
from collections.abc import Iterator
from datetime import UTC, datetime
from typing import Any

import sqlalchemy as sa

from app.json_output import replace_non_finite
from app.provenance.database import insert_ignore
from app.provenance.tables import quality

_VALUES = ("takes", "minutes")
_COLUMNS = (
    "candidate",
    "production",
    "difference",
    "standard_error",
    "candidate_answers",
    "production_answers",
    "users",
)
_SIDES = ("candidate", "production")
_RANKS_SHOWN = 5


def save_quality(engine: sa.Engine, result: dict[str, Any]) -> None:
    """Insert a result into the table `quality`.

    Raises:
        SQLAlchemyError: the database is unreachable or refuses.
    """
    common = {
        "computed_at_us": time.time_ns() // 1000,
        "candidate_version": result["candidate"],
        "production_version": result["production"],
        "start_us": _to_us(result["start"]),
        "end_us": _to_us(result["end"]),
    }
    rows = [
        {**common, "horizon": horizon, "value": value, **_get_columns(found[value])}
        for horizon, found in result["horizons"].items()
        if found
        for value in _VALUES
    ]
    with engine.begin() as connection:
        insert_ignore(connection, quality, rows)


def _get_columns(found: dict[str, Any]) -> dict[str, Any]:
    low, high = found["interval"]
    columns = {name: found[name] for name in _COLUMNS}
    # NaN is no number in a database.
    found_or_null: dict[str, Any] = replace_non_finite(
        {**columns, "interval_low": low, "interval_high": high}
    )
    return found_or_null


def _to_us(text: str) -> int:
    return round(datetime.fromisoformat(text).replace(tzinfo=UTC).timestamp() * 1e6)


def format_quality(result: dict[str, Any]) -> Iterator[str]:
    """The result as lines of text."""
    yield f"version {result['candidate']} compared with {result['production']} in production"
    yield f"answers from {result['start']} to {result['end']} UTC"
    yield f"watches until {result['watches_until']} UTC; younger answers are left out"
    for horizon, found in result["horizons"].items():
        yield ""
        if found is None:
            yield f"watches within {horizon}: a version has no answers that are old enough"
            continue
        yield f"watches within {horizon:<19}{'version ' + str(result['candidate']):>14}" + (
            f"{'version ' + str(result['production']):>14}"
        )
        yield from _format_sides(found)
        yield from (_format_difference(value, found[value]) for value in _VALUES)
    judged = result["judgement"]
    yield ""
    yield f"{judged['outcome']}: {judged['sentence']}"


def _format_sides(found: dict[str, Any]) -> Iterator[str]:
    rows: dict[str, tuple[str, str]] = {
        "answers": ("answers", ",d"),
        "takes per answer": ("take_rate", ".4f"),
        "minutes per answer": ("minutes_per_answer", ".2f"),
        "share of the movie watched": ("watched_share", ".1%"),
        "takes of movies only it held": ("own_take_rate", ".4f"),
        "unaided: only the other held": ("unaided_rate", ".4f"),
    }
    versions = [found["versions"][side] for side in _SIDES]
    for title, (name, style) in rows.items():
        yield f"  {title:<32}" + "".join(f"{_number(v[name], style):>14}" for v in versions)
    for rank in range(_RANKS_SHOWN):
        rates = (_number(v["take_rate_by_rank"][rank], ".4f") for v in versions)
        yield f"  {f'takes per answer, rank {rank + 1}':<32}" + "".join(f"{r:>14}" for r in rates)


def _format_difference(value: str, found: dict[str, Any]) -> str:
    low, high = found["interval"]
    share = f" ({found['difference'] / found['production']:+.1%})" if found["production"] else ""
    return (
        f"  difference of {value} per answer: {found['difference']:+.5f}{share}, "
        f"95 % interval {low:+.5f} to {high:+.5f}, "
        f"{found['users_of_both']:,} of {found['users']:,} users met both"
    )


def _number(value: float | None, style: str) -> str:
    return "unknown" if value is None else format(value, style)
