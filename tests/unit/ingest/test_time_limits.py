"""Which times are possible, by the clock and the settings."""

from datetime import UTC, datetime, timedelta
from pathlib import Path
from threading import Event
from zoneinfo import ZoneInfo

import pytest
import time_machine

from app.ingest.batch_parser import parse_batch
from app.ingest.kafka.collector import Collector
from app.ingest.kafka.metrics import CollectorMetrics
from app.ingest.log_parser import InvalidLine, parse_line
from app.ingest.store_writer import open_writer
from app.ingest.time_limits import TimeLimits, TimeRange
from app.settings import read_settings

NOON = datetime(2026, 3, 1, 12)
NEW_YORK = ZoneInfo("America/New_York")


def test_without_a_zone_the_limit_is_a_day() -> None:
    with time_machine.travel(NOON.replace(tzinfo=UTC), tick=False):
        expected = TimeRange(datetime(1990, 1, 1), NOON + timedelta(days=1))
        assert TimeLimits().stream_range() == TimeLimits().table_range() == expected


def test_with_a_zone_the_limit_is_ten_minutes_of_its_local_time() -> None:
    limits = TimeLimits(1900, NEW_YORK)
    with time_machine.travel(NOON.replace(tzinfo=UTC), tick=False):
        assert limits.stream_range() == TimeRange(datetime(1900, 1, 1), datetime(2026, 3, 1, 7, 10))
        # Tables are not in the stream's zone.
        assert limits.table_range().max_time == NOON + timedelta(days=1)


@pytest.mark.parametrize("minutes", [0, 1, 90])
def test_a_time_from_before_clocks_were_set_back_is_possible(minutes: int) -> None:
    clocks_set_back = datetime(2026, 11, 1, 6, tzinfo=UTC)  # 2:00 becomes 1:00
    with time_machine.travel(clocks_set_back + timedelta(minutes=minutes), tick=False):
        last_before = datetime(2026, 11, 1, 1, 59, 59)
        assert TimeLimits(stream_zone=NEW_YORK).stream_range().max_time >= last_before


def test_both_parsers_reject_the_same_times() -> None:
    possible = TimeRange(datetime(1990, 1, 1), datetime(2026, 3, 2, 12))
    times = {
        "1989-12-31T23:59:59.999999": False,
        "1990-01-01T00:00": True,
        "2026-03-02T12:00": True,
        "2026-03-02T12:00:00.000001": False,
        "2926-03-01T12:00:00": False,
    }
    for time, is_possible in times.items():
        for request in ("GET /data/m/up+2009/0.mpg", "GET /rate/up+2009=4"):
            line = f"{time},7,{request}"
            event = parse_line(line, times=possible)
            assert (event == InvalidLine("time")) is not is_possible
            batch = parse_batch([line], times=possible)
            assert batch.counts["rejected"] == (not is_possible)
            assert batch.watches.height + batch.ratings.height == is_possible


def test_the_limits_are_settings(monkeypatch: pytest.MonkeyPatch) -> None:
    assert TimeLimits.from_settings(read_settings()) == TimeLimits(1990, None)
    monkeypatch.setenv("MARQUEE_MIN_EVENT_YEAR", "1970")
    monkeypatch.setenv("MARQUEE_STREAM_TIME_ZONE", "America/New_York")
    assert TimeLimits.from_settings(read_settings()) == TimeLimits(1970, NEW_YORK)


def test_the_collector_rejects_impossible_times_by_the_settings(tmp_path: Path) -> None:
    times = ["1989-12-31T23:59", "2022-11-14T12:24", "2926-11-14T12:24"]
    lines = [f"{time},7,GET /data/m/up+2009/0.mpg" for time in times]
    for first_year, rejected in ((1990, 2), (1989, 1)):
        with open_writer(tmp_path / f"{first_year}") as writer:
            settings = read_settings(min_event_year=first_year)
            collector = Collector(settings, writer, CollectorMetrics(settings.store_dir), Event())
            assert collector.buffer.add_lines(lines).counts["rejected"] == rejected
