"""One look at a release: read samples, decide, remember an abort."""

from dataclasses import dataclass
from pathlib import Path
from typing import Any

from app.canary_analysis.errors import AnalysisInputError
from app.canary_analysis.history import AnalysisDirectory
from app.canary_analysis.limits import Limits, parse_limits
from app.canary_analysis.report import Window, describe_decision
from app.canary_analysis.samples import SampleTable, parse_samples
from app.canary_analysis.verdict import decide

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


def run_analysis(request: Request) -> dict[str, Any]:
    """Return what `marquee analyze` prints.

    Raises:
        AnalysisInputError: wrong samples, settings or response.
        OSError: a file of the state cannot be read or written.
    """
    limits = parse_limits(request.settings)
    if request.replay is not None:
        return _replay(request, request.replay, limits)
    directory = AnalysisDirectory(request.state) if request.state else None
    if directory:
        decision = directory.read_decision()
        if decision is not None:
            return decision
    table = SampleTable()
    if directory:
        table.add(directory.read_samples())
    notes: list[str] = []
    if request.samples is not None:
        new = table.add(parse_samples(request.samples))
    else:
        new, notes = _read_prometheus(request, table)
    if directory:
        directory.append_samples(new)
    window = _window(request, table, request.window)
    if directory:
        directory.write_analysis(
            {"window": window.length, "version": request.version, "start": request.start}
        )
    result = judge(table, window, request.version, limits)
    if notes:
        result["notes"] = notes
    if directory and result["verdict"] == "ABORT":
        directory.write_decision(result)
    return result


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
        from app.canary_analysis.prometheus import complete_minutes

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


def _read_prometheus(
    request: Request, table: SampleTable
) -> tuple[list[Any], list[str]]:
    from app.canary_analysis.prometheus import read_samples

    assert request.prometheus_url is not None and request.start is not None  # noqa: S101, PT018
    minutes = request.window if request.window is not None else None
    samples, notes = read_samples(
        request.prometheus_url, request.start, table.last_minute + 1, minutes, request.until
    )
    return table.add(samples), notes
