"""One look at a release: read samples, decide, remember an abort."""

from dataclasses import asdict, dataclass
from math import isfinite, nan
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np

from app.canary_analysis.checks import FAILED, PASSED, UNDECIDED, Check
from app.canary_analysis.errors import AnalysisInputError, PrometheusError
from app.canary_analysis.history import AnalysisDirectory
from app.canary_analysis.limits import Limits, parse_limits
from app.canary_analysis.report import Window, describe_check, describe_decision
from app.canary_analysis.samples import Sample, SampleTable, parse_samples
from app.canary_analysis.verdict import decide

if TYPE_CHECKING:
    from app.canary_analysis.prometheus import Clock, Queries
    from app.canary_analysis.quality_check import QualityDifference

#: Directory with one directory per release, in which `--replay` looks up an id.
RELEASES = Path("data/release/analysis")


@dataclass(frozen=True)
class Request:
    """Options of `marquee analyze`; exactly one of the first three is set."""

    samples: bytes | None
    prometheus_url: str | None
    replay: str | None
    start: float | None
    until: float | None
    window: int | None
    version: str | None
    state: Path | None
    settings: tuple[str, ...]
    queries: Path = Path("monitoring/prometheus/release/analysis.yml")
    minute_seconds: int = 60
    scrape_interval: float = 5.0
    mean_seconds: float | None = None
    quality: "QualityDifference | None" = None

    @property
    def clock(self) -> "Clock":
        """When the minutes of Prometheus begin and end."""
        from app.canary_analysis.prometheus import Clock  # noqa: PLC0415

        assert self.start is not None  # noqa: S101 - checked by the command
        return Clock(self.start, self.minute_seconds, self.scrape_interval)


def run_analysis(request: Request) -> dict[str, Any]:
    """Return what `marquee analyze` prints.

    Raises:
        AnalysisInputError: wrong samples, settings or response.
        OSError: a file of the state cannot be read or written.
    """
    if request.replay is not None:
        return _replay(request, request.replay)
    limits = parse_limits(request.settings)
    if request.state is None:
        return _look(request, SampleTable(), limits)[0]
    directory = AnalysisDirectory(request.state)
    decision = directory.read_decision()
    if decision is not None:
        return decision
    stored = directory.read_analysis()
    for name in ("start", "minute_seconds"):
        value = getattr(request, name)
        if stored.get(name, value) != value:
            raise AnalysisInputError(
                f"{request.state} belongs to an analysis with {name} {stored[name]}, not {value}"
            )
    table = SampleTable()
    table.add(directory.read_samples())
    result, new = _look(request, table, limits)
    if notes := list(dict.fromkeys([*stored.get("notes", []), *result.get("notes", [])])):
        result["notes"] = notes
    try:
        _save(request, directory, new, result, table.last_minute + 1)
    except OSError as error:
        # A full disk must not hide a bad canary. What is not stored is read again next time.
        if request.prometheus_url is None:
            raise
        note = f"the state could not be written: {error.strerror or error}"
        result["notes"] = [*result.get("notes", []), note]
    return result


def _save(
    request: Request,
    directory: AnalysisDirectory,
    new: "list[Sample]",
    result: dict[str, Any],
    minutes: int,
) -> None:
    """Store new samples, what `--replay` needs, and an ABORT."""
    directory.append_samples(new)
    directory.write_analysis(
        {
            "version": request.version,
            "start": request.start,
            "window": request.window or minutes,
            "minute_seconds": request.minute_seconds,
            "settings": list(request.settings),
            "notes": result.get("notes", []),
            # As text: JSON has no NaN.
            "mean_seconds": None if request.mean_seconds is None else str(request.mean_seconds),
            "quality": _store_quality(request.quality),
        }
    )
    if result["verdict"] == "ABORT":
        directory.write_decision(result)


def _look(
    request: Request, table: SampleTable, limits: Limits
) -> tuple[dict[str, Any], "list[Sample]"]:
    """Read new samples into the table and decide; return the result and the new samples."""
    if request.samples is not None:
        new = table.add(parse_samples(request.samples))
        window = _window(request, table, request.window)
        result = judge(table, window, request.version, limits, request.mean_seconds)
        return judge_quality_too(result, window, limits, request.quality), new
    from app.canary_analysis.check_queries import add_queries  # noqa: PLC0415
    from app.canary_analysis.prometheus import read_queries  # noqa: PLC0415

    queries = read_queries(request.queries, request.version or "")
    read = _read_prometheus(request, table, queries)
    window = _window(request, table, request.window)
    result = judge(table, window, request.version, limits, request.mean_seconds)
    result = judge_quality_too(result, window, limits, request.quality)
    end = request.clock.end_of(result["minute"])
    result = add_queries(result, queries, end, request.minute_seconds, limits.guard_window)
    if read.notes:
        result["notes"] = read.notes
    if read.error:
        result = _without_prometheus(result, read.error)
    return result, read.new


def judge(
    table: SampleTable,
    window: Window,
    version: str | None,
    limits: Limits,
    mean_seconds: float | None = None,
) -> dict[str, Any]:
    """Decide from all samples so far.

    `mean_seconds` is the mean latency of the window as Prometheus has computed it, judged at the
    deadline; NaN: Prometheus has none; None: it was not asked.
    """
    if window.minutes == 0:
        verdict = "INCONCLUSIVE" if window.is_over else "CONTINUE"
        return {"verdict": verdict, "minute": -1, "reason": "there are no samples", "checks": []}
    observations = table.observations(window.minutes, version)
    decision = decide(observations, limits)
    aborted_at = int(decision.aborted_at)
    if aborted_at < window.minutes - 1:
        # Report the values at which the guard has aborted.
        decision = decide(observations.first_minutes(aborted_at + 1), limits)
    result = describe_decision(decision, window)
    if mean_seconds is not None and window.is_over:
        result = _judge_mean(mean_seconds, limits, result)
    return result


def _window(request: Request, table: SampleTable, length: int | None) -> Window:
    """Minutes that have passed: to the last sample or, with Prometheus, to the present."""
    minutes = table.last_minute + 1
    if request.prometheus_url is not None:
        minutes = max(minutes, request.clock.complete_minutes(request.until))
    length = minutes if length is None else length
    return Window(min(minutes, length), length)


def _replay(request: Request, release: str) -> dict[str, Any]:
    """Judge a past release with its own settings, of which the given ones replace some."""
    path = Path(release) if Path(release).is_dir() else RELEASES / release
    if not path.is_dir():
        raise AnalysisInputError(f"no release {release!r}: {path} does not exist")
    directory = AnalysisDirectory(path)
    table = SampleTable()
    table.add(directory.read_samples())
    stored = directory.read_analysis()
    limits = parse_limits([*stored.get("settings", []), *request.settings])
    window = _window(request, table, request.window or stored.get("window"))
    mean_seconds = request.mean_seconds
    if mean_seconds is None and stored.get("mean_seconds") is not None:
        mean_seconds = float(stored["mean_seconds"])
    version = request.version or stored.get("version")
    result = judge(table, window, version, limits, mean_seconds)
    quality = request.quality or _restore_quality(stored.get("quality"))
    result = judge_quality_too(result, window, limits, quality)
    return result | {"notes": stored["notes"]} if stored.get("notes") else result


class _Read(NamedTuple):
    """New samples, sentences about what was not seen, and why nothing could be read."""

    new: list[Sample]
    notes: list[str]
    error: str = ""


def _read_prometheus(request: Request, table: SampleTable, queries: "Queries") -> _Read:
    from app.canary_analysis.prometheus import MinuteReader, Prometheus  # noqa: PLC0415

    assert request.prometheus_url is not None  # noqa: S101 - checked by the caller
    end = request.clock.complete_minutes(request.until)
    if request.window is not None:
        end = min(end, request.window)
    try:
        reader = MinuteReader(Prometheus(request.prometheus_url), queries, request.clock)
        samples, notes = reader.read(range(table.last_minute + 1, end))
    except PrometheusError as error:
        return _Read([], [], str(error))
    return _Read(table.add(samples), notes)


def _without_prometheus(result: dict[str, Any], error: str) -> dict[str, Any]:
    """Nothing new was read: an ABORT stays, everything else is undecided."""
    if result["verdict"] == "ABORT":
        return result
    verdict = "CONTINUE" if result["verdict"] == "CONTINUE" else "INCONCLUSIVE"
    return result | {"verdict": verdict, "reason": error, "query_failed": True}


def judge_quality_too(
    result: dict[str, Any],
    window: Window,
    limits: Limits,
    quality: "QualityDifference | None",
) -> dict[str, Any]:
    """Add the check of the online quality at the deadline.

    One that is shown to be worse aborts, if there are enough requests; one that is undecided
    changes no verdict.
    """
    if quality is None or not window.is_over:
        return result
    from app.canary_analysis.quality_check import describe_quality  # noqa: PLC0415

    check = describe_quality(quality, limits)
    result = result | {"checks": [*result["checks"], check]}
    if check["outcome"] != "failed" or result["verdict"] == "ABORT":
        return result
    return result | {"verdict": "ABORT", "reason": check["sentence"]}


def _store_quality(quality: "QualityDifference | None") -> dict[str, Any] | None:
    if quality is None:
        return None
    # JSON has no NaN.
    error = quality.standard_error if isfinite(quality.standard_error) else None
    return {**asdict(quality), "standard_error": error}


def _restore_quality(stored: dict[str, Any] | None) -> "QualityDifference | None":
    if stored is None:
        return None
    from app.canary_analysis.quality_check import QualityDifference  # noqa: PLC0415

    error = stored["standard_error"]
    return QualityDifference(**{**stored, "standard_error": nan if error is None else error})


def _judge_mean(value: float, limits: Limits, result: dict[str, Any]) -> dict[str, Any]:
    """Put the seed's check in front: the mean latency of the window, from Prometheus."""
    limit = limits.max_mean_seconds
    outcome = PASSED if value < limit else FAILED if isfinite(value) else UNDECIDED
    check = Check(
        "prometheus_mean_seconds",
        "mean latency in Prometheus",
        unit="seconds",
        outcome=np.array(outcome),
        value=np.array(value),
        limit=np.array(limit),
        limit_text=f"below {limit * 1000:g} ms",
        kind="fence",
    )
    described = describe_check(check)
    sentence = described["sentence"]
    result = result | {"checks": [described, *result["checks"]]}
    if outcome == PASSED or result["verdict"] == "ABORT":
        return result
    evidence = {c["name"]: c["outcome"] for c in result["checks"]}
    if outcome == FAILED and evidence["requests"] == evidence["scraped_ratio"] == "passed":
        return result | {"verdict": "ABORT", "reason": sentence}
    reason = sentence if result["verdict"] == "PROMOTE" else f"{sentence}; {result['reason']}"
    return result | {"verdict": "INCONCLUSIVE", "reason": reason}
