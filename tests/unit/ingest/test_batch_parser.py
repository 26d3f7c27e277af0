"""The fast way over blocks of lines says what `parse_line` says, line by line."""

from collections import Counter
from datetime import datetime
from random import Random

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from app.ingest.batch_parser import ParsedBatch, parse_batch
from app.ingest.log_parser import Event, InvalidLine, Rating, RatingScale, Watch, parse_line

from .lines import make_lines

LINES = 1_000
EXAMPLES = 120
SCALE = RatingScale(1, 5)

Row = tuple[int, str, float, datetime]


def rows_of(block: ParsedBatch) -> tuple[list[Row], list[Row]]:
    return sorted(block.watches.rows()), sorted(block.ratings.rows())


def rows_by_line(events: list[Event | InvalidLine]) -> tuple[list[Row], list[Row]]:
    found = [e.repairable_event if isinstance(e, InvalidLine) else e for e in events]
    watches = [(e.user_id, e.movie_id, e.minute, e.time) for e in found if isinstance(e, Watch)]
    ratings = [(e.user_id, e.movie_id, e.rating, e.time) for e in found if isinstance(e, Rating)]
    return sorted(watches), sorted(ratings)


def assert_equal_to_the_grammar(lines: list[str]) -> None:
    block = parse_batch(lines, SCALE)
    events = [parse_line(line, SCALE) for line in lines]
    assert rows_of(block) == rows_by_line(events)
    assert block.reasons == Counter(e.reason for e in events if isinstance(e, InvalidLine))
    kinds = Counter(type(event).__name__ for event in events)
    assert +block.counts == +Counter(
        lines=len(lines),
        watches=kinds["Watch"],
        ratings=kinds["Rating"],
        recommendations=kinds["Recommendation"],
        accounts=kinds["Account"],
        rejected=kinds["InvalidLine"],
    )


def test_it_equals_the_grammar_on_100_000_lines() -> None:
    taken = 0

    @settings(max_examples=EXAMPLES, deadline=None)
    @given(st.integers(0, 2**32), st.sampled_from([0.0, 0.1, 0.6]))
    def check(seed: int, damaged: float) -> None:
        nonlocal taken
        taken += LINES
        assert_equal_to_the_grammar(make_lines(Random(seed), LINES, damaged))

    check()
    assert taken >= 100_000


@settings(deadline=None)
@given(st.lists(st.text(max_size=60), max_size=20))
def test_it_equals_the_grammar_on_any_text(lines: list[str]) -> None:
    assert_equal_to_the_grammar(lines)


def test_an_empty_block_is_empty() -> None:
    block = parse_batch([])
    assert block.watches.is_empty()
    assert block.ratings.is_empty()
    assert block.counts["lines"] == 0


@pytest.mark.parametrize("year", [1000, 1582, 1899, 2100, 2999])
def test_calendars_agree(year: int) -> None:
    days = [f"{year}-{m:02}-{d:02}" for m in range(14) for d in range(33)]
    assert_equal_to_the_grammar([f"{day}T00:00:00,1,GET /data/m/x/1.mpg" for day in days])
