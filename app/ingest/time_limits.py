"""Which times of events are possible: one wrong time must not become the newest of a store.

Recency, popularity, drift and volume are all counted from the newest event. So an event that is
later than its collection, by more than a clock may be wrong, is refused on arrival; so is one from
before there were any.
"""

from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import NamedTuple
from zoneinfo import ZoneInfo

import polars as pl

from app.settings import IngestSettings

#: Accepted difference where the zone of a time is not known: no zone is further from UTC.
MAX_SKEW_WITHOUT_ZONE = timedelta(days=1)
#: Accepted difference of two clocks.
MAX_SKEW = timedelta(minutes=10)
#: A time written before clocks were set back may be collected after it.
_CLOCK_CHANGE = timedelta(hours=3)


class TimeRange(NamedTuple):
    """First and last possible time, without a zone; both are accepted."""

    min_time: datetime = datetime.min
    max_time: datetime = datetime.max

    def contains(self, time: pl.Expr) -> pl.Expr:
        """Whether a column's times are possible; null where there is none."""
        return time.is_between(self.min_time, self.max_time)


ANY_TIME = TimeRange()


@dataclass(frozen=True)
class TimeLimits:
    """How the possible times follow from the clock.

    Attributes:
        min_year: year of the first possible time.
        stream_zone: time zone of log lines; None where it is not known.
    """

    min_year: int = 1990
    stream_zone: ZoneInfo | None = None

    @classmethod
    def from_settings(cls, settings: IngestSettings) -> "TimeLimits":
        """Read `min_event_year` and `stream_time_zone`."""
        name = settings.stream_time_zone
        return cls(settings.min_event_year, ZoneInfo(name) if name else None)

    def stream_range(self) -> TimeRange:
        """Possible local times of log lines that are collected now."""
        if self.stream_zone is None:
            return self.table_range()
        now = datetime.now(UTC)
        local = (time.astimezone(self.stream_zone) for time in (now, now - _CLOCK_CHANGE))
        offset = max(time.utcoffset() or timedelta() for time in local)
        return TimeRange(self._min_time, now.replace(tzinfo=None) + offset + MAX_SKEW)

    def table_range(self) -> TimeRange:
        """Possible times of tables that are imported now, and of stored events.

        They are in UTC where they have a zone or count seconds, and may be local where not.
        """
        now = datetime.now(UTC).replace(tzinfo=None)
        return TimeRange(self._min_time, now + MAX_SKEW_WITHOUT_ZONE)

    @property
    def _min_time(self) -> datetime:
        return datetime(self.min_year, 1, 1)
