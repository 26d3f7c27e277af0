"""Lines of samples: one JSON object per minute and slot, as docs/canary-analysis.md describes.

The lines are both the input of `--samples` and what the analysis keeps of a release.
"""

import json
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from itertools import pairwise
from math import inf, isfinite
from typing import Any

import numpy as np

from app.canary_analysis.errors import AnalysisInputError
from app.canary_analysis.observations import Counts, Floats, Observations, SlotCounts
from app.text_files import TextError, decode_text

CANARY = "canary"
#: The longest window of the command.
_MAX_MINUTE = 100_000
#: Sums over the longest window and all statuses of a slot stay below 2**63.
_MAX_COUNT = 10**12
_MAX_BOUNDS = 500


@dataclass
class Sample:
    """Increments of one slot in one minute.

    Attributes:
        minute: from the start of the analysis.
        slot: `canary` or the name of a stable slot.
        version: version that the slot ran; "": unknown, because no scrape reached it.
        status: responses by status.
        buckets: successful responses, cumulative by upper bound in seconds (the last is infinite);
            empty if the slot exports none.
        source: recommendations by source; None if the slot exports none.
        recent_unused: recommendations that could not use recent activity; None if the slot does
            not export it.
        started: requests begun; None if the slot does not export it.
        seconds: sum of the latencies of successful responses; None if unknown.
        up: scrapes that reached the slot.
        scrapes: scrapes that were tried.
    """

    minute: int
    slot: str
    version: str
    status: dict[str, int]
    buckets: dict[float, int]
    source: dict[str, int] | None
    started: int | None
    seconds: float | None
    up: int
    scrapes: int
    recent_unused: int | None = None

    @property
    def key(self) -> tuple[str, int, str]:
        """Slot, minute and version, of which there is one sample."""
        return self.slot, self.minute, self.version

    def to_json(self) -> str:
        """Return the line without its end."""
        content = {key: value for key, value in vars(self).items() if value is not None}
        content["buckets"] = {
            "+Inf" if bound == inf else f"{bound:.10g}": count
            for bound, count in self.buckets.items()
        }
        return json.dumps(content, separators=(",", ":"))


def parse_samples(data: bytes) -> list[Sample]:
    """Parse lines of samples.

    Raises:
        AnalysisInputError: a line that is no sample, or differs from another line of its slot,
            minute and version; the message has its number.
    """
    try:
        text = decode_text(data)
    except TextError as error:
        raise AnalysisInputError(f"samples: {error}") from error
    samples = []
    first: dict[tuple[str, int, str], tuple[int, Sample]] = {}
    for number, line in enumerate(text.split("\n"), 1):
        if not line.strip():
            continue
        try:
            sample = _parse_sample(json.loads(line))
            earlier, same = first.setdefault(sample.key, (number, sample))
            if same != sample:
                what = f"minute {sample.minute} of slot {sample.slot[:40]!r}"
                raise ValueError(f"{what} differs from line {earlier}")
        except (ValueError, RecursionError) as error:
            raise AnalysisInputError(f"samples, line {number}: {error}") from error
        samples.append(sample)
    return samples


def _parse_sample(line: Any) -> Sample:
    if not isinstance(line, dict):
        raise ValueError("not a JSON object")
    for name in ("minute", "slot", "status"):
        if name not in line:
            raise ValueError(f"{name} is missing")
    slot, version = line["slot"], line.get("version", "")
    if not isinstance(slot, str) or not slot:
        raise ValueError("slot is not a name")
    if not isinstance(version, str | int) or isinstance(version, bool):
        raise ValueError("version is neither text nor a number")
    minute = _parse_count("minute", line["minute"])
    if minute >= _MAX_MINUTE:
        raise ValueError(f"minute {minute} is too large: a window has at most {_MAX_MINUTE}")
    scrapes = _parse_count("scrapes", line.get("scrapes", 1))
    up = _parse_count("up", line.get("up", scrapes))
    if up > scrapes:
        raise ValueError(f"up is {up}, more than the {scrapes} scrapes")
    started, seconds, unused = (line.get(n) for n in ("started", "seconds", "recent_unused"))
    return Sample(
        minute=minute,
        slot=slot,
        version=str(version),
        status=_parse_status(line["status"]),
        buckets={} if line.get("buckets") is None else _parse_buckets(line["buckets"]),
        source=_parse_counts("source", line["source"]) if line.get("source") is not None else None,
        started=None if started is None else _parse_count("started", started),
        seconds=None if seconds is None else _parse_seconds(seconds),
        up=up,
        scrapes=scrapes,
        recent_unused=None if unused is None else _parse_count("recent_unused", unused),
    )


def _parse_count(name: str, value: Any) -> int:
    is_number = isinstance(value, int | float) and not isinstance(value, bool)
    if not is_number or not 0 <= value <= _MAX_COUNT or value != int(value):
        raise ValueError(f"{name} is {json.dumps(value)[:40]}, not a whole number from 0")
    return int(value)


def _parse_counts(name: str, counts: Any) -> dict[str, int]:
    if not isinstance(counts, dict):
        raise ValueError(f"{name} is not a JSON object")
    return {key: _parse_count(f"{name} {key}", value) for key, value in counts.items()}


def _parse_status(counts: Any) -> dict[str, int]:
    status = _parse_counts("status", counts)
    for code in status:
        if not (len(code) == 3 and code.isascii() and code.isdigit()):  # noqa: PLR2004
            raise ValueError(f"status {code[:40]!r} is not a status code")
    return status


def _parse_seconds(value: Any) -> float:
    if isinstance(value, bool) or not isinstance(value, int | float) or not isfinite(value):
        raise ValueError("seconds is not a number")
    if not 0 <= value <= _MAX_COUNT:
        raise ValueError(f"seconds is {value:g}, not from 0 to {_MAX_COUNT:g}")
    return float(value)


def _parse_buckets(counts: Any) -> dict[float, int]:
    """Parse cumulative counts by upper bound, sorted by the bound."""
    counts = _parse_counts("buckets", counts)
    if len(counts) > _MAX_BOUNDS:
        raise ValueError(f"more than {_MAX_BOUNDS} buckets")
    buckets = {}
    for key, value in counts.items():
        try:
            bound = float(key)
        except ValueError:
            raise ValueError(f"bucket {key[:40]!r}: not a number of seconds") from None
        if not bound > 0:
            raise ValueError(f"bucket {key[:40]!r}: not above 0")
        if bound in buckets:
            raise ValueError(f"bucket {key[:40]!r}: given twice")
        buckets[bound] = value
    buckets = dict(sorted(buckets.items()))
    if buckets and inf not in buckets:
        raise ValueError("the bucket +Inf is missing")
    values = list(buckets.values())
    if any(low > high for low, high in pairwise(values)):
        raise ValueError("buckets are not cumulative: a larger bound has a smaller count")
    return buckets


@dataclass
class SampleTable:
    """Samples by slot and minute. A sample that was added first stays.

    Attributes:
        samples: slot -> minute -> version -> sample.
    """

    samples: dict[str, dict[int, dict[str, Sample]]] = field(default_factory=dict)

    def add(self, samples: Iterable[Sample], source: str = "samples") -> list[Sample]:
        """Add samples; return those that were not known before.

        Raises:
            AnalysisInputError: two different samples of one slot, minute and version among those
                added.
        """
        new: dict[tuple[str, int, str], Sample] = {}
        for sample in samples:
            if new.setdefault(sample.key, sample) != sample:
                raise AnalysisInputError(
                    f"{source}: two samples of minute {sample.minute}, slot {sample.slot!r}"
                )
        added = []
        for (slot, minute, version), sample in new.items():
            versions = self.samples.setdefault(slot, {}).setdefault(minute, {})
            if version not in versions:
                versions[version] = sample
                added.append(sample)
        return added

    @property
    def last_minute(self) -> int:
        """The last minute with a sample; -1 if there is none."""
        return max((max(minutes) for minutes in self.samples.values() if minutes), default=-1)

    def canary_version(self) -> str:
        """Return the version in the canary's last sample that has one, or ""."""
        minutes = sorted(self.samples.get(CANARY, {}).items())
        versions = [version for _, found in minutes for version in found if version]
        return versions[-1] if versions else ""

    def observations(self, minutes: int, version: str | None = None) -> Observations:
        """Return the arrays of the first `minutes` minutes.

        Args:
            minutes: number of minutes, at least 1; one without a sample was not scraped.
            version: version of the canary; samples of other versions in its slot are left out,
                those of minutes in which it was not reached have none. Default: the version in its
                last sample that has one.
        """
        version = self.canary_version() if version is None else version
        canary = [
            {
                minute: {v: s for v, s in versions.items() if v in (version, "")}
                for minute, versions in self.samples.get(CANARY, {}).items()
                if minute < minutes
            }
        ]
        stables = [
            {minute: versions for minute, versions in samples.items() if minute < minutes}
            for slot, samples in sorted(self.samples.items())
            if slot != CANARY
        ]
        bounds = _common_bounds([*canary, *stables])
        scrapes = [s.scrapes for slot in [*canary, *stables] for s in _flatten(slot) if s.scrapes]
        return Observations(
            _build_counts(canary, minutes, bounds),
            _build_counts(stables, minutes, bounds),
            np.array(bounds),
            # The usual number: a minute may have one more.
            int(np.median(scrapes)) if scrapes else 1,
        )


SlotSamples = Mapping[int, Mapping[str, Sample]]


def _flatten(slot: SlotSamples) -> list[Sample]:
    return [sample for versions in slot.values() for sample in versions.values()]


def _common_bounds(slots: Sequence[SlotSamples]) -> list[float]:
    """Return the finite bounds that all histograms have."""
    found = {tuple(sample.buckets) for slot in slots for sample in _flatten(slot) if sample.buckets}
    if not found:
        return []
    common = set.intersection(*(set(bounds) for bounds in found))
    return sorted(common - {inf})


def _build_counts(slots: Sequence[SlotSamples], minutes: int, bounds: list[float]) -> SlotCounts:
    shape = (len(slots), minutes)
    names = ("answered", "failures", "client_errors", "reached", "scrapes")
    arrays: dict[str, Counts] = {name: np.zeros(shape, dtype=np.int64) for name in names}
    every = [sample for slot in slots for sample in _flatten(slot)]
    # A counter that appears later counts from zero; one that is nowhere is not exported.
    has_started = any(sample.started is not None for sample in every)
    has_source = any(sample.source is not None for sample in every)
    has_recent = any("recent" in (sample.source or {}) for sample in every)
    has_unused = has_source and any(sample.recent_unused is not None for sample in every)
    has_buckets = any(sample.buckets for sample in every)
    has_seconds = bool(every) and all(
        sample.seconds is not None for sample in every if _answered(sample)
    )
    optional = ("started", "popular", "recent", "recent_unused", "recommended")
    extra = {name: np.zeros(shape, dtype=np.int64) for name in optional}
    buckets = np.zeros((*shape, len(bounds) + 1), dtype=np.int64)
    seconds: Floats = np.zeros(shape)
    for index, slot in enumerate(slots):
        for sample in _flatten(slot):
            at = (index, sample.minute)
            for name, count in _count_statuses(sample.status).items():
                arrays[name][at] += count
            arrays["reached"][at] += sample.up
            arrays["scrapes"][at] += sample.scrapes
            extra["started"][at] += _answered(sample) if sample.started is None else sample.started
            if sample.source:
                extra["popular"][at] += sample.source.get("popular", 0)
                extra["recent"][at] += sample.source.get("recent", 0)
                extra["recommended"][at] += sum(sample.source.values())
            extra["recent_unused"][at] += sample.recent_unused or 0
            if sample.buckets:
                cumulative = [0, *(sample.buckets[bound] for bound in bounds), sample.buckets[inf]]
                buckets[at] += np.diff(cumulative)
            seconds[at] += sample.seconds or 0.0
    return SlotCounts(
        **arrays,
        started=extra["started"] if has_started else None,
        popular=extra["popular"] if has_source else None,
        recent=extra["recent"] if has_recent else None,
        recent_unused=extra["recent_unused"] if has_unused else None,
        recommended=extra["recommended"] if has_source else None,
        buckets=buckets if has_buckets else None,
        seconds=seconds if has_seconds else None,
    )


def _answered(sample: Sample) -> int:
    return sum(sample.status.values())


def _count_statuses(status: Mapping[str, int]) -> dict[str, int]:
    return {
        "answered": sum(status.values()),
        "failures": sum(count for code, count in status.items() if code.startswith("5")),
        "client_errors": sum(count for code, count in status.items() if code.startswith("4")),
    }
