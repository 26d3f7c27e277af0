"""Read counts per minute from Prometheus as whole numbers.

`increase` extrapolates, so counters are read as they are, at the end of each minute. A value that
is smaller than the one before it, or a minute in which Prometheus saw a reset, is a restart: the
samples of that minute are read one by one, and what lies between the last scrape and the restart is
unseen. A series that appears while its slot is scraped counts from zero (a status that never
occurred has no series); one that appears with its slot's first scrape counts from that scrape.
"""

import json
import time
from collections.abc import Iterable
from dataclasses import dataclass, field
from math import inf
from pathlib import Path
from typing import Any, NamedTuple
from urllib.error import URLError
from urllib.parse import urlencode
from urllib.request import Request, urlopen

from app.canary_analysis.errors import AnalysisInputError, PrometheusError
from app.canary_analysis.samples import Sample

_TIMEOUT_SECONDS = 5
#: How far before minute 0 the value of a counter may lie that is in use already.
_BEFORE_SECONDS = 300
#: A reset is looked for between the last samples of the minute before and those of the minute.
_OVERLAP_SECONDS = 10
_MAX_RESPONSE_BYTES = 100_000_000
#: Points of one query; Prometheus refuses more than 11,000 per series.
_MINUTES_PER_QUERY = 1440


@dataclass(frozen=True)
class Clock:
    """When minutes begin and end.

    Attributes:
        start: Unix time of minute 0.
        seconds: length of a minute. Short releases of demos and tests count in shorter units.
        scrape_interval: seconds after a minute's end until its last scrape is surely stored.
    """

    start: float
    seconds: int = 60
    scrape_interval: float = 5.0

    def end_of(self, minute: int) -> float:
        """Return the Unix time at which a minute ends."""
        return self.start + self.seconds * (minute + 1)

    def minute_at_end(self, at: float) -> int:
        """Return the minute that ends at this Unix time."""
        return round((at - self.start) / self.seconds) - 1

    def complete_minutes(self, until: float | None) -> int:
        """Return how many minutes are over and scraped at a Unix time; default: now."""
        passed = (time.time() if until is None else until) - self.start - self.scrape_interval
        return max(int(passed // self.seconds), 0)


class Counter(NamedTuple):
    """One kind of counter: selectors for the canary and the stables, and the label of its parts."""

    canary: str
    stables: str
    by: str | None


@dataclass(frozen=True)
class Queries:
    """What is asked of Prometheus (monitoring/prometheus/release/analysis.yml)."""

    counters: dict[str, Counter]
    up: str


def read_queries(path: Path, version: str) -> Queries:
    """Read the query file and fill in the version.

    Raises:
        AnalysisInputError: the file is not valid.
    """
    from app.text_files import TextError  # noqa: PLC0415 - together with the YAML library
    from app.yaml_files import read_yaml  # noqa: PLC0415 - a heavy import

    try:
        content = read_yaml(path)
        return Queries(
            {
                name: Counter(
                    counter["canary"].replace("$VERSION", version),
                    counter["stables"],
                    counter.get("by"),
                )
                for name, counter in content["counters"].items()
            },
            content["up"],
        )
    except (KeyError, TypeError, AttributeError, TextError) as error:
        raise AnalysisInputError(f"{path}: not a query file: {error}") from error


class Prometheus:
    """The HTTP API of Prometheus."""

    def __init__(self, url: str) -> None:
        if not url.startswith(("http://", "https://")):
            raise AnalysisInputError(f"{url!r} is not an http URL")
        self._url = url.rstrip("/")

    def query(self, expression: str, at: float) -> list[dict[str, Any]]:
        """Evaluate an expression at one time."""
        return self._get("query", {"query": expression, "time": repr(at)})

    def query_range(self, expression: str, times: "Times") -> list[dict[str, Any]]:
        """Evaluate an expression at the end of each minute."""
        parameters = {"query": expression, "start": repr(times.start), "end": repr(times.end)}
        return self._get("query_range", parameters | {"step": repr(times.step)})

    def _get(self, path: str, parameters: dict[str, str]) -> list[dict[str, Any]]:
        request = Request(f"{self._url}/api/v1/{path}", urlencode(parameters).encode())  # noqa: S310
        try:
            with urlopen(request, timeout=_TIMEOUT_SECONDS) as response:  # noqa: S310
                content = json.loads(response.read(_MAX_RESPONSE_BYTES))
        except (URLError, TimeoutError, OSError, ValueError) as error:
            raise PrometheusError(f"Prometheus did not respond: {error}") from error
        if not isinstance(content, dict) or content.get("status") != "success":
            raise PrometheusError("Prometheus returned an error or an unknown format")
        try:
            result = content["data"]["result"]
            if not all(isinstance(series["metric"], dict) for series in result):
                raise TypeError("metric is not an object")
        except (KeyError, TypeError) as error:
            raise PrometheusError("Prometheus returned an unknown format") from error
        return list(result)


class Times(NamedTuple):
    """Ends of consecutive minutes, in Unix seconds."""

    start: float
    end: float
    step: float


@dataclass
class _Slot:
    """What was read of one slot: counter -> part -> minute -> increment."""

    counts: dict[str, dict[str, dict[int, float]]] = field(default_factory=dict)
    up: dict[int, int] = field(default_factory=dict)
    scrapes: dict[int, int] = field(default_factory=dict)
    version: str = ""


class Reading(NamedTuple):
    """Samples, and sentences about what was not seen."""

    samples: list[Sample]
    notes: list[str]


class MinuteReader:
    """Reads samples of consecutive minutes."""

    def __init__(self, prometheus: Prometheus, queries: Queries, clock: Clock) -> None:
        self._prometheus, self._queries, self._clock = prometheus, queries, clock
        self._restarts: set[tuple[str, int]] = set()

    def read(self, minutes: range) -> Reading:
        """Read the samples of some minutes.

        Raises:
            PrometheusError: no response, or one that cannot be used.
        """
        samples: list[Sample] = []
        for first in range(minutes.start, minutes.stop, _MINUTES_PER_QUERY):
            samples += self._read(range(first, min(first + _MINUTES_PER_QUERY, minutes.stop)))
        notes = [
            f"{slot} restarted in minute {minute}: what came after its last scrape is unseen"
            for slot, minute in sorted(self._restarts)
        ]
        return Reading(samples, notes)

    def _read(self, minutes: range) -> list[Sample]:
        slots: dict[str, _Slot] = {}
        self._read_up(minutes, slots)
        for name, counter in self._queries.counters.items():
            for selector in (counter.canary, counter.stables):
                self._read_counter(_Selected(name, selector, counter.by), minutes, slots)
        return [
            sample
            for name, slot in sorted(slots.items())
            for sample in _build_samples(name, slot, minutes)
        ]

    def _times(self, minutes: range) -> Times:
        """Ends of the minutes, and of the one before them."""
        first, last = (self._clock.end_of(n - 1) for n in (minutes.start, minutes.stop))
        return Times(first, last, self._clock.seconds)

    def _values(self, series: dict[str, Any]) -> dict[int, float]:
        """Values by minute."""
        return {
            self._clock.minute_at_end(float(at)): float(value) for at, value in series["values"]
        }

    def _read_up(self, minutes: range, slots: dict[str, _Slot]) -> None:
        for function, attribute in (("sum_over_time", "up"), ("count_over_time", "scrapes")):
            expression = f"{function}({self._queries.up}[{self._clock.seconds}s])"
            for series in self._prometheus.query_range(expression, self._times(minutes)):
                values = getattr(slots.setdefault(_label(series, "slot"), _Slot()), attribute)
                for minute, value in self._values(series).items():
                    values[minute] = values.get(minute, 0) + int(value)

    def _read_counter(self, selected: "_Selected", minutes: range, slots: dict[str, _Slot]) -> None:
        times = self._times(minutes)
        # The range includes the last samples of the minute before.
        resets = f"resets({selected.selector}[{self._clock.seconds + _OVERLAP_SECONDS}s]) > 0"
        restarted = {
            _key(series): set(self._values(series))
            for series in self._prometheus.query_range(resets, times)
        }
        before = self._read_before(selected, minutes)
        # Unlike the bare series, the last sample of a minute ignores a failed scrape after it.
        last = f"last_over_time({selected.selector}[{self._clock.seconds}s])"
        for series in self._prometheus.query_range(last, times):
            name = _label(series, "slot")
            slot = slots.setdefault(name, _Slot())
            slot.version = series["metric"].get("version", slot.version)
            part = series["metric"].get(selected.by, "") if selected.by else ""
            counts = slot.counts.setdefault(selected.name, {}).setdefault(part, {})
            values = self._values(series)
            previous = before.get(_key(series))
            for minute in minutes:
                value = values.get(minute)
                if value is None:
                    continue
                if previous is None and slot.up.get(minute - 1, 0) > 0:
                    count = value  # It appeared while its slot was scraped.
                elif previous is None:
                    count = self._walk(selected, series, minute, None)
                elif value < previous or minute in restarted.get(_key(series), ()):
                    self._restarts.add((name, minute))
                    count = self._walk(selected, series, minute, previous)
                else:
                    count = value - previous
                counts[minute] = counts.get(minute, 0.0) + count
                previous = value

    def _read_before(
        self, selected: "_Selected", minutes: range
    ) -> dict[frozenset[tuple[str, str]], float]:
        """Last value of each series before the minutes, however long ago its last scrape was."""
        seconds = _BEFORE_SECONDS + self._clock.seconds * minutes.start
        expression = f"last_over_time({selected.selector}[{seconds}s])"
        found = self._prometheus.query(expression, self._clock.end_of(minutes.start - 1))
        return {_key(series): float(series["value"][1]) for series in found}

    def _walk(
        self,
        selected: "_Selected",
        series: dict[str, Any],
        minute: int,
        previous: float | None,
    ) -> float:
        """Add up the increments between the samples of one minute; a smaller value is a restart."""
        end = self._clock.end_of(minute)
        found = self._prometheus.query(f"{selected.selector}[{self._clock.seconds}s]", end)
        values = [
            float(value)
            for other in found
            if _key(other) == _key(series)
            for _, value in other["values"]
        ]
        total = 0.0
        for value in values:
            if previous is not None:
                total += value if value < previous else value - previous
            previous = value
        return total


class _Selected(NamedTuple):
    """A counter of the canary or of the stables."""

    name: str
    selector: str
    by: str | None


def _label(series: dict[str, Any], name: str) -> str:
    return str(series["metric"].get(name, ""))


def _key(series: dict[str, Any]) -> frozenset[tuple[str, str]]:
    """Labels without the metric's name, which functions remove."""
    return frozenset((k, v) for k, v in series["metric"].items() if k != "__name__")


def _build_samples(name: str, slot: _Slot, minutes: range) -> Iterable[Sample]:
    for minute in minutes:
        scrapes = slot.scrapes.get(minute, 0)
        counts = {
            counter: {part: by_minute.get(minute, 0.0) for part, by_minute in parts.items()}
            for counter, parts in slot.counts.items()
        }
        if scrapes == 0 and not any(any(parts.values()) for parts in counts.values()):
            continue
        started, seconds = counts.get("started"), counts.get("seconds")
        unused = counts.get("recent_unused")
        yield Sample(
            minute=minute,
            slot=name,
            version=slot.version,
            status=_whole(counts.get("status", {})),
            buckets=_cumulative(counts.get("buckets", {})),
            source=_whole(counts["source"]) if "source" in counts else None,
            started=sum(_whole(started).values()) if started is not None else None,
            seconds=sum(seconds.values()) if seconds is not None else None,
            up=min(slot.up.get(minute, 0), scrapes),
            scrapes=scrapes,
            recent_unused=sum(_whole(unused).values()) if unused is not None else None,
        )


def _whole(counts: dict[str, float]) -> dict[str, int]:
    return {part: round(count) for part, count in counts.items()}


def _cumulative(counts: dict[str, float]) -> dict[float, int]:
    """Sort by the bound; a count below that of a smaller bound is raised to it."""
    by_bound = {(inf if le == "+Inf" else float(le)): round(n) for le, n in counts.items()}
    result, largest = {}, 0
    for bound in sorted(by_bound):
        largest = max(largest, by_bound[bound])
        result[bound] = largest
    return result if inf in result else {}
