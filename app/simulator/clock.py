"""Compare simulated time with the clock: the collector rejects lines that are later than it."""

from datetime import datetime, timedelta

from app.cli_errors import MarqueeError

#: Lines may be as much later than the clock as the collector allows for wrong clocks.
_MAX_AHEAD = timedelta(minutes=10)


class ClockError(MarqueeError):
    """A simulation whose time would run ahead of the clock."""


def limit_days(
    start: datetime, days: float | None, speed: float | None, now: datetime
) -> float | None:
    """Return the simulated days of a run that never runs ahead of the clock.

    Args:
        start: simulated time at the start, local and without a zone.
        days: simulated days; None: until stopped.
        speed: simulated seconds in a second of real time; None for a run that takes no real time.
        now: the clock's time, local and without a zone.

    Returns:
        `days`; where it is None and simulated time is faster than the clock, the days until it
        reaches the clock.

    Raises:
        ClockError: simulated time would run ahead of the clock.
    """
    real_share = 0.0 if speed is None else min(1.0, 1 / speed)
    gap_days = (now - start) / timedelta(days=1)
    if start - now > _MAX_AHEAD:
        raise _ahead(now)
    if real_share == 1.0:
        return days
    if days is None:
        if now - start <= _MAX_AHEAD:
            raise _ahead(now - timedelta(days=1))
        return gap_days / (1 - real_share)
    ahead_days = days * (1 - real_share) - gap_days
    if ahead_days > _MAX_AHEAD / timedelta(days=1):
        earliest = (start - datetime.min) / timedelta(days=1)
        raise _ahead(start - timedelta(days=min(ahead_days, earliest)))
    return days


def _ahead(latest: datetime) -> ClockError:
    return ClockError(
        "simulated time would run ahead of the clock, and the collector rejects lines of the "
        f"future; begin in the past, with --start {latest:%Y-%m-%dT%H:%M:%S} or earlier"
    )
