"""Parse a batch of log lines to tables of events, fast for well-formed watch lines.

98 % of the lines are well-formed watch lines, which one regular expression and a few casts parse
for a whole batch. Every other line goes through `log_parser.parse_line`. A test compares both.
"""

from collections import Counter
from collections.abc import Iterable
from typing import NamedTuple

import polars as pl

from app.ingest import patterns
from app.ingest.log_parser import (
    ONE_TO_FIVE,
    Account,
    Rating,
    RatingScale,
    Recommendation,
    Watch,
    parse_line,
)
from app.ingest.schemas import RATING_EVENTS, WATCH_EVENTS, Schema, conform
from app.ingest.time_limits import ANY_TIME, TimeRange

#: The counts of a batch: all lines, then the kind of each.
LINE_KINDS = ("watches", "ratings", "recommendations", "accounts", "rejected")


class ParsedBatch(NamedTuple):
    """The events and counts of a batch of lines.

    Attributes:
        watches: `WATCH_EVENTS`, repairable events (see `InvalidLine`) included.
        ratings: `RATING_EVENTS`, likewise.
        counts: `lines` and the number of each of `LINE_KINDS`; a repairable event counts only as
            rejected.
        reasons: rejected lines by reason.
    """

    watches: pl.DataFrame
    ratings: pl.DataFrame
    counts: Counter[str]
    reasons: Counter[str]


def parse_batch(
    lines: list[str], scale: RatingScale = ONE_TO_FIVE, times: TimeRange = ANY_TIME
) -> ParsedBatch:
    """Parse lines (without line feeds or lone surrogates), each with the result of `parse_line`."""
    frame = _extract_watch_fields(lines)
    is_watch = (
        times.contains(pl.col("time"))
        & (pl.col("movie_id").str.len_bytes() <= patterns.MAX_MOVIE_ID_LENGTH)
    ).fill_null(False)
    watches = conform(frame.filter(is_watch), WATCH_EVENTS)
    rest = _parse_each(frame.filter(~is_watch)["line"].to_list(), scale, times)
    rest.counts.update(lines=len(lines), watches=watches.height)
    return rest._replace(watches=pl.concat([watches, rest.watches]))


def _extract_watch_fields(lines: list[str]) -> pl.DataFrame:
    """Return each line with its fields as text; fields are null where it is no watch line."""
    names = ("day", "clock", "second", "fraction", "user_id", "movie_id", "minute")
    fields = pl.col("line").str.extract_groups(patterns.WATCH_LINE).struct.rename_fields(names)
    frame = pl.DataFrame({"line": lines}, schema={"line": pl.String})
    time = patterns.parse_time_parts(*map(pl.col, names[:4])).alias("time")
    return frame.select("line", fields.struct.unnest()).with_columns(time)


def _parse_each(lines: Iterable[str], scale: RatingScale, times: TimeRange) -> ParsedBatch:
    watches: list[Watch] = []
    ratings: list[Rating] = []
    counts: Counter[str] = Counter()
    reasons: Counter[str] = Counter()
    for line in lines:
        event = parse_line(line, scale, times)
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
                counts["rejected"] += 1
                reasons[event.reason] += 1
                if isinstance(event.repairable_event, Watch):
                    watches.append(event.repairable_event)
                elif event.repairable_event is not None:
                    ratings.append(event.repairable_event)
    return ParsedBatch(
        _to_table(watches, WATCH_EVENTS), _to_table(ratings, RATING_EVENTS), counts, reasons
    )


def _to_table(events: list[Watch] | list[Rating], schema: Schema) -> pl.DataFrame:
    rows = [event._asdict() for event in events]
    return pl.DataFrame(rows, schema=schema)
