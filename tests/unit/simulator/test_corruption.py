from collections import Counter

import pytest

from app.ingest.log_parser import (
    Account,
    InvalidLine,
    Rating,
    Recommendation,
    Watch,
    parse_line,
)
from app.simulator import log_format
from app.simulator.corruption import CorruptionRates, LineCorruptor, LineKind, Method

LINES: dict[LineKind, tuple[type, str]] = {
    "watches": (Watch, "2022-11-14T12:24,388907,GET /data/m/a+golden+river-in-law+2014/42.mpg"),
    "ratings": (Rating, log_format.format_rating("2022-11-14T12:24:01", 7, "alien+1979", 4)),
    "accounts": (Account, log_format.format_account("2022-11-14T12:24:01", 7)),
    "recommendations": (
        Recommendation,
        log_format.format_recommendation(
            "2022-11-14T12:24:00.123", "7", "host:8082", 200, "a, b+1999", 12
        ),
    ),
}
KINDS_WITH_MOVIES = {"watches", "ratings"}


@pytest.mark.parametrize("kind", LINES)
@pytest.mark.parametrize("method", ["insert", "random_id"])
def test_the_parser_rejects_a_corrupted_line_for_the_stated_reason(
    kind: LineKind, method: Method
) -> None:
    event_class, line = LINES[kind]
    assert isinstance(parse_line(line), event_class)
    corruptor = LineCorruptor(1, CorruptionRates())
    reasons: Counter[str | None] = Counter()
    for _ in range(3000):
        corrupted = corruptor.corrupt(kind, line, method)
        event = parse_line(corrupted.line)
        if corrupted.reason is None:
            assert isinstance(event, event_class), corrupted.line
        else:
            assert isinstance(event, InvalidLine), corrupted.line
            assert event.reason == corrupted.reason, corrupted.line
        reasons[corrupted.reason] += 1
    replaces_id = method == "random_id" and kind in KINDS_WITH_MOVIES
    assert set(reasons) >= ({"movie"} if replaces_id else {"time"})


@pytest.mark.parametrize("share", [0.0, 0.002, 0.3, 1.0])
def test_the_set_share_of_lines_is_corrupted(share: float) -> None:
    corruptor = LineCorruptor(2, CorruptionRates(inserted=share, random_ids=0))
    selected = sum(len(corruptor.select(count)) for count in [1, 7, 100, 0, 40] * 1000)
    assert selected == pytest.approx(148_000 * share, rel=0.15)


def test_a_line_is_corrupted_at_most_once() -> None:
    corruptor = LineCorruptor(2, CorruptionRates(inserted=1.0, random_ids=1.0))
    assert [index for index, _ in corruptor.select(10)] == list(range(10))
