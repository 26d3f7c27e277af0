"""One look at a release: read samples, decide, remember an abort."""

from dataclasses import dataclass
from math import isfinite, nan
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

from app.canary_analysis.errors import AnalysisInputError, PrometheusError
from app.canary_analysis.history import AnalysisDirectory
from app.canary_analysis.limits import Limits, parse_limits
from app.canary_analysis.report import Window, describe_decision
from app.canary_analysis.samples import Sample, SampleTable, parse_samples
from app.canary_analysis.verdict import decide

if TYPE_CHECKING:
    from app.canary_analysis.prometheus import Prometheus, Queries

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


def run_analysis(request: Request) -> dict[str, Any]:
    """Return what `marquee analyze` prints.

    Raises:
        AnalysisInputError: wrong samples, settings or response.
        OSError: a file of the state cannot be read or written.
    """
    limits = parse_limits(request.settings)
    if request.replay is not None:
        return _replay(request, request.replay, limits)
    if request.state is None:
        return _look(request, SampleTable(), limits)[0]
    directory = AnalysisDirectory(request.state)
    decision = directory.read_decision()
    if decision is not None:
        return decision
    table = SampleTable()
    table.add(directory.read_samples())
    result, new = _look(request, table, limits)
    directory.append_samples(new)
    stored = {"version": request.version, "start": request.start}
    directory.write_analysis(stored | {"window": request.window or table.last_minute + 1})
    if result["verdict"] == "ABORT":
        directory.write_decision(result)
    return result


def _look(
    request: Request, table: SampleTable, limits: Limits
) -> tuple[dict[str, Any], "list[Sample]"]:
    """Read new samples into the table and decide; return the result and the new samples."""
    if request.samples is not None:
        new = table.add(parse_samples(request.samples))
        return judge(table, _window(request, table, request.window), request.version, limits), new
    read = _read_prometheus(request, table)
    window = _window(request, table, request.window)
    result = judge(table, window, request.version, limits)
    if read.notes:
        result["notes"] = read.notes
    if read.error:
        result = _without_prometheus(result, read.error)
    elif window.is_over:
        result = _ask_mean(request, window, limits, result)
    return result, read.new


def judge(
    table: SampleTable, window: Window, version: str | None, limits: Limits
) -> dict[str, Any]:
    """Decide from all samples so far."""
    if window.minutes == 0:
        verdict = "INCONCLUSIVE" if window.is_over else "CONTINUE"
        return {"verdict": verdict, "minute": -1, "reason": "there are no samples", "checks": []}
    observations = table.observations(window.minutes, version)
    decision = decide(observations, limits)
    aborted_at = int(decision.aborted_at)
    if aborted_at < window.minutes - 1:
        # Report the values at which the guard has aborted.
        decision = decide(observations.first_minutes(aborted_at + 1), limits)
    return describe_decision(decision, window)


def _window(request: Request, table: SampleTable, length: int | None) -> Window:
    """Minutes that have passed: to the last sample or, with Prometheus, to the present."""
    minutes = table.last_minute + 1
    if request.prometheus_url is not None:
        from app.canary_analysis.prometheus import complete_minutes  # noqa: PLC0415

        minutes = max(minutes, complete_minutes(request.start or 0.0, request.until))
    length = minutes if length is None else length
    return Window(min(minutes, length), length)


def _replay(request: Request, release: str, limits: Limits) -> dict[str, Any]:
    path = Path(release) if Path(release).is_dir() else RELEASES / release
    if not path.is_dir():
        raise AnalysisInputError(f"no release {release!r}: {path} does not exist")
    directory = AnalysisDirectory(path)
    table = SampleTable()
    table.add(directory.read_samples())
    stored = directory.read_analysis()
    window = _window(request, table, request.window or stored.get("window"))
    return judge(table, window, request.version or stored.get("version"), limits)


class _Read(NamedTuple):
    """New samples, sentences about what was not seen, and why nothing could be read."""

    new: list[Sample]
    notes: list[str]
    error: str = ""


def _read_prometheus(request: Request, table: SampleTable) -> _Read:
    from app.canary_analysis.prometheus import MinuteReader, complete_minutes  # noqa: PLC0415

    assert request.start is not None  # noqa: S101 - checked by the command
    end = complete_minutes(request.start, request.until)
    if request.window is not None:
        end = min(end, request.window)
    try:
        reader = MinuteReader(*_connect(request), request.start)
        samples, notes = reader.read(range(table.last_minute + 1, end))
    except PrometheusError as error:
        return _Read([], [], str(error))
    return _Read(table.add(samples), notes)


def _connect(request: Request) -> "tuple[Prometheus, Queries]":
    from app.canary_analysis.prometheus import Prometheus, read_queries  # noqa: PLC0415

    assert request.prometheus_url is not None  # noqa: S101 - checked by the caller
    return Prometheus(request.prometheus_url), read_queries(request.queries, request.version or "")


def _without_prometheus(result: dict[str, Any], error: str) -> dict[str, Any]:
    """Nothing new was read: an ABORT stays, everything else is undecided."""
    if result["verdict"] == "ABORT":
        return result
    verdict = "CONTINUE" if result["verdict"] == "CONTINUE" else "INCONCLUSIVE"
    return result | {"verdict": verdict, "reason": error, "query_failed": True}


def _ask_mean(
    request: Request, window: Window, limits: Limits, result: dict[str, Any]
) -> dict[str, Any]:
    """Add the seed's check: the mean latency in the window, asked of Prometheus."""
    from app.canary_analysis.prometheus import MINUTE_SECONDS  # noqa: PLC0415

    assert request.start is not None  # noqa: S101 - checked by the command
    prometheus, queries = _connect(request)
    seconds = window.length * MINUTE_SECONDS
    expression = queries.mean_seconds.replace("$WINDOW", f"{seconds}s")
    try:
        found = prometheus.query(expression, request.start + seconds)
        value = float(found[0]["value"][1]) if len(found) == 1 else nan
    except (PrometheusError, KeyError, IndexError, TypeError, ValueError) as error:
        return _without_prometheus(result, f"mean latency: {error}")
    limit = limits.max_mean_seconds
    outcome = "passed" if value < limit else "failed" if isfinite(value) else "undecided"
    sentence = (
        f"mean latency in Prometheus {value * 1000:.3g} ms, must be below {limit * 1000:g} ms"
    )
    check: dict[str, Any] = {"name": "prometheus_mean_seconds", "kind": "fence", "unit": "seconds"}
    check |= {"outcome": outcome, "value": value, "limit": limit, "sentence": sentence}
    result = result | {"checks": [check, *result["checks"]]}
    if outcome == "passed" or result["verdict"] == "ABORT":
        return result
    enough = all(c["outcome"] == "passed" for c in result["checks"] if c["kind"] == "evidence")
    verdict = "ABORT" if outcome == "failed" and enough else "INCONCLUSIVE"
    return result | {"verdict": verdict, "reason": sentence}
