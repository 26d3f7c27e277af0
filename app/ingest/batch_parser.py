"""A block of log lines to tables of events: the fast way for what is surely a watch line.

98 lines of 100 are well-formed watch lines, which one regular expression and a few casts settle
for a whole block. Every other line goes through `parse_line`, the complete grammar; a test holds
the two equal.
"""

from collections import Counter
from collections.abc import Iterable
from typing import NamedTuple

import polars as pl

from app.ingest import expressions, patterns
from app.ingest.log_parser import (
    ONE_TO_FIVE,
    Account,
    Rating,
    Recommendation,
    Scale,
    Watch,
    parse_line,
)
from app.ingest.schemas import RATING_EVENTS, WATCH_EVENTS, Schema, conform


class Block(NamedTuple):
    """What a block of lines holds.

    `watches` and `ratings` have a row per event, suspects (see `grammar.Rejected`) among them;
    `counts` has `lines`, `watches`, `ratings`, `recommendations`, `accounts` and `damaged`, where
    a suspect counts as damaged alone; `reasons` tells the damaged by reason.
    """

    watches: pl.DataFrame
    ratings: pl.DataFrame
    counts: Counter[str]
    reasons: Counter[str]


def read_block(lines: list[str], scale: Scale = ONE_TO_FIVE) -> Block:
    """Parse lines (no line feeds, no lone surrogates) as `parse_line` does each."""
    frame = _as_watches(lines)
    surely = (
        pl.col("time").is_not_null() & (pl.col("movie_id").str.len_bytes() <= patterns.MOVIE_LENGTH)
    ).fill_null(False)
    fast = conform(frame.filter(surely), WATCH_EVENTS)
    rest = _read_singly(frame.filter(~surely)["line"].to_list(), scale)
    rest.counts.update(lines=len(lines), watches=fast.height)
    return rest._replace(watches=pl.concat([fast, rest.watches]))


def _as_watches(lines: list[str]) -> pl.DataFrame:
    """Each line beside its parts as text; parts are null where a line is not a watch line."""
    names = ("day", "clock", "second", "fraction", "user_id", "movie_id", "minute")
    found = pl.col("line").str.extract_groups(patterns.WATCH_LINE).struct.rename_fields(names)
    frame = pl.DataFrame({"line": lines}, schema={"line": pl.String})
    time = expressions.moment(*map(pl.col, names[:4])).alias("time")
    return frame.select("line", found.struct.unnest()).with_columns(time)


def _read_singly(lines: Iterable[str], scale: Scale) -> Block:
    watches: list[Watch] = []
    ratings: list[Rating] = []
    counts: Counter[str] = Counter()
    reasons: Counter[str] = Counter()
    for line in lines:
        event = parse_line(line, scale)
        match event:
            case Watch():
                counts["watches"] += 1
                watches.append(event)
            case Rating():
                counts["ratings"] += 1
                ratings.append(event)
            case Recommendation():
                counts["recommendations"] += 1
            case Account():
                counts["accounts"] += 1
            case _:
                counts["damaged"] += 1
                reasons[event.reason] += 1
                if isinstance(event.suspect, Watch):
                    watches.append(event.suspect)
                elif event.suspect is not None:
                    ratings.append(event.suspect)
    return Block(_table(watches, WATCH_EVENTS), _table(ratings, RATING_EVENTS), counts, reasons)


def _table(events: list[Watch] | list[Rating], schema: Schema) -> pl.DataFrame:
    rows = [event._asdict() for event in events]
    return pl.DataFrame(rows, schema=schema)
