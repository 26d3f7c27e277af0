"""Simulated time never runs ahead of the clock."""

from datetime import datetime, timedelta

import pytest

from app.simulator.clock import ClockError, limit_days

NOW = datetime(2026, 3, 1, 12)


def days_ago(days: float) -> datetime:
    return NOW - timedelta(days=days)


@pytest.mark.parametrize(
    ("start", "days", "speed"),
    [
        (NOW, None, 1),
        (NOW, 14, 1),
        (NOW, 14, 0.5),
        (days_ago(14), 14, 672),
        (days_ago(1), 1, None),
        (days_ago(3), None, 0.5),
    ],
)
def test_a_run_that_stays_behind_the_clock_is_not_changed(
    start: datetime, days: float | None, speed: float | None
) -> None:
    assert limit_days(start, days, speed, NOW) == days


@pytest.mark.parametrize(
    ("start", "days", "speed", "latest"),
    [
        (NOW, 14, 14, days_ago(13)),
        (days_ago(10), 14, 14, days_ago(13)),
        (NOW, None, 2, days_ago(1)),
        (days_ago(-1), None, 1, NOW),
        (days_ago(0.5), 1, None, days_ago(1)),
        (days_ago(-1), 1, 0.1, NOW),
    ],
)
def test_a_run_that_would_be_ahead_is_refused_with_the_latest_start(
    start: datetime, days: float | None, speed: float | None, latest: datetime
) -> None:
    with pytest.raises(ClockError, match=f"--start {latest:%Y-%m-%dT%H:%M:%S} or earlier"):
        limit_days(start, days, speed, NOW)
    assert limit_days(latest - timedelta(seconds=1), days, speed, NOW) is not None or speed == 1


def test_without_days_a_fast_run_ends_when_it_reaches_the_clock() -> None:
    days = limit_days(days_ago(9), None, 10, NOW)
    assert days == pytest.approx(10)  # nine days behind, and one real day later
