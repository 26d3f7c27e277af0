"""`parse_batch` returns the same events as `parse_line` for each line."""

from collections import Counter
from datetime import datetime
from random import Random

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from app.ingest.batch_parser import ParsedBatch, parse_batch
from app.ingest.log_parser import Event, InvalidLine, Rating, RatingScale, Watch, parse_line

from .log_lines import make_lines

LINES = 1_000
EXAMPLES = 120
SCALE = RatingScale(1, 5)

Row = tuple[int, str, float, datetime]


def batch_rows(batch: ParsedBatch) -> tuple[list[Row], list[Row]]:
    return sorted(batch.watches.rows()), sorted(batch.ratings.rows())


def event_rows(events: list[Event | InvalidLine]) -> tuple[list[Row], list[Row]]:
    stored = [e.repairable_event if isinstance(e, InvalidLine) else e for e in events]
    watches = [(e.user_id, e.movie_id, e.minute, e.time) for e in stored if isinstance(e, Watch)]
    ratings = [(e.user_id, e.movie_id, e.rating, e.time) for e in stored if isinstance(e, Rating)]
    return sorted(watches), sorted(ratings)


def assert_equals_line_parser(lines: list[str]) -> None:
    batch = parse_batch(lines, SCALE)
    events = [parse_line(line, SCALE) for line in lines]
    assert batch_rows(batch) == event_rows(events)
    assert batch.reasons == Counter(e.reason for e in events if isinstance(e, InvalidLine))
    kinds = Counter(type(event).__name__ for event in events)
    assert +batch.counts == +Counter(
        lines=len(lines),
        watches=kinds["Watch"],
        ratings=kinds["Rating"],
        recommendations=kinds["Recommendation"],
        accounts=kinds["Account"],
        rejected=kinds["InvalidLine"],
    )


def test_batch_parser_equals_line_parser_on_100_000_lines() -> None:
    parsed = 0

    @settings(max_examples=EXAMPLES, deadline=None)
    @given(st.integers(0, 2**32), st.sampled_from([0.0, 0.1, 0.6]))
    def check(seed: int, corruption_rate: float) -> None:
        nonlocal parsed
        parsed += LINES
        assert_equals_line_parser(make_lines(Random(seed), LINES, corruption_rate))

    check()
    assert parsed >= 100_000


@settings(deadline=None)
@given(st.lists(st.text(max_size=60), max_size=20))
def test_batch_parser_equals_line_parser_on_any_text(lines: list[str]) -> None:
    assert_equals_line_parser(lines)


def test_an_empty_batch_has_no_events() -> None:
    batch = parse_batch([])
    assert batch.watches.is_empty()
    assert batch.ratings.is_empty()
    assert batch.counts["lines"] == 0


@pytest.mark.parametrize("year", [1000, 1582, 1899, 2100, 2999])
def test_both_parsers_accept_the_same_dates(year: int) -> None:
    days = [f"{year}-{m:02}-{d:02}" for m in range(14) for d in range(33)]
    assert_equals_line_parser([f"{day}T00:00:00,1,GET /data/m/x/1.mpg" for day in days])
