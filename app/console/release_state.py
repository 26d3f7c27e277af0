"""Read the state and the history of releases from the files of `scripts/canary_release.sh`.

The files belong to another program and may be of another version: a field that is missing or of
another type is shown as unknown. docs/releasing.md (The state file) describes them.
"""

import json
from collections import Counter
from dataclasses import dataclass, field
from functools import lru_cache
from pathlib import Path
from typing import Any

from app.console.pictures import CheckPicture, draw_check
from app.console.recorded_queries import RecordedQueries, parse_recorded_queries
from app.console.sources import SourceError
from app.text_files import parse_json_rows, parse_seconds

_MAX_FILE_BYTES = 20_000_000
#: Releases of the past that are read.
MAX_RELEASES = 50
#: What a release does in a phase, and what comes next.
NEXT_STEPS = {
    "building": "builds the image, then verifies it with a smoke test",
    "verifying": "runs the smoke test, then deploys the image to the canary slot",
    "deploying": "deploys the canary and waits for its first scrape, then analyzes it",
    "analyzing": "evaluates guards until the deadline, then promotes or aborts",
    "promoting": "deploys the version to the stable slots, one at a time, then completes",
    "restoring": "puts the earlier images back into the stable slots, then aborts",
    "aborting": "puts the stable image back into the canary slot, then completes",
    "finalizing": "notifies and removes old images, then completes",
    "completed": "nothing: the release is over",
}


@dataclass(frozen=True)
class Check:
    """A check of the last evaluation.

    Attributes:
        title: its value in words.
        kind: `comparison`, `fence`, `evidence`, `guard` or `shown`.
        outcome: passed, failed, undecided, shown or skipped.
        sentence: value, interval and limit.
        picture: of them; None without a limit.
        query: PromQL of the counts behind it; empty where it is not computed from Prometheus, or
            the evaluation is of a version that did not record it.
    """

    title: str
    kind: str
    outcome: str
    sentence: str
    picture: CheckPicture | None
    query: str


@dataclass(frozen=True)
class Guard:
    """One evaluation during the window: its time in Unix seconds, its verdict and its reason."""

    time: float | None
    verdict: str
    reason: str
    failed: bool


@dataclass(frozen=True)
class Release:
    """The current or last release; times in Unix seconds."""

    id: str
    kind: str
    phase: str
    phase_started_at: float | None
    started_at: float | None
    started_by: str
    completed_at: float | None
    version: str
    commit: str
    outcome: str
    reason: str
    deadline: float | None
    is_extended: bool
    verdict: str
    verdict_reason: str
    evaluated_at: float | None
    checks: list[Check]
    queries: RecordedQueries

    @property
    def is_in_progress(self) -> bool:
        """Whether it has not completed."""
        return self.phase != "completed"

    @property
    def next_step(self) -> str:
        """What it does now and next."""
        return NEXT_STEPS.get(self.phase, "unknown: this phase is of another version")


@dataclass(frozen=True)
class PastRelease:
    """A line of the list of releases."""

    id: str
    kind: str
    version: str
    outcome: str
    reason: str
    started_at: float | None
    ended_at: float | None


@dataclass(frozen=True)
class ReleaseState:
    """What the files say.

    Attributes:
        release: the current or last release; None before the first.
        guards: its evaluations, oldest first.
        verdicts: number of its evaluations by verdict.
        past: all releases with a history, newest first.
        orders: what became of the console's orders: id -> outcome and detail.
    """

    release: Release | None = None
    guards: list[Guard] = field(default_factory=list)
    verdicts: dict[str, int] = field(default_factory=dict)
    past: list[PastRelease] = field(default_factory=list)
    orders: dict[str, tuple[str, str]] = field(default_factory=dict)


def read_release_state(directory: Path) -> ReleaseState:
    """Read the directory `data/release`.

    Raises:
        SourceError: it does not exist, or the state cannot be read or is damaged.
    """
    if not directory.is_dir():
        raise SourceError(f"the directory {directory} does not exist")
    state = _read_state(directory / "state.json")
    release = _parse_release(state) if state is not None else None
    past, guards = [], list[Guard]()
    for path in sorted((directory / "history").glob("*.jsonl"), reverse=True)[:MAX_RELEASES]:
        try:
            status = path.stat()
        except FileNotFoundError:  # removed by the release's process, which keeps the newest
            continue
        signature = (status.st_mtime_ns, status.st_size)
        past.append(_read_past(path, signature))
        if release and path.stem == release.id:
            guards = list(_read_guards(path, signature))
    verdicts = dict(Counter(guard.verdict for guard in guards))
    return ReleaseState(release, guards, verdicts, past, _read_orders(directory / "orders.jsonl"))


def _read_orders(path: Path) -> dict[str, tuple[str, str]]:
    if not path.exists():
        return {}
    return {
        _text(event.get("id")): (_text(event.get("outcome")), _text(event.get("detail")))
        for event in _read_events(path)
    }


@lru_cache(maxsize=2 * MAX_RELEASES)
def _read_past(path: Path, signature: tuple[int, int]) -> PastRelease:
    """Describe a history; a file of the same time and size is not read again.

    The state is read every two seconds, and a month of histories has tens of thousands of lines.
    """
    return _describe_past(path.stem, _read_events(path))


@lru_cache(maxsize=2)
def _read_guards(path: Path, signature: tuple[int, int]) -> tuple[Guard, ...]:
    events = _read_events(path)
    return tuple(_parse_guard(event) for event in events if event.get("event") == "evaluation")


def _read_state(path: Path) -> dict[str, Any] | None:
    try:
        content = json.loads(_read_bytes(path))
    except FileNotFoundError:
        return None
    except OSError as error:
        raise SourceError(f"{path.name} cannot be read: {error.strerror or error}") from error
    except (ValueError, RecursionError) as error:
        raise SourceError(f"{path.name} is damaged (docs/releasing.md, The state file)") from error
    if not isinstance(content, dict):
        raise SourceError(f"{path.name} is damaged (docs/releasing.md, The state file)")
    return content


def _read_events(path: Path) -> list[dict[str, Any]]:
    """The events of a history."""
    try:
        return parse_json_rows(_read_bytes(path))
    except OSError as error:
        raise SourceError(f"{path.name} cannot be read: {error.strerror or error}") from error


def _read_bytes(path: Path) -> bytes:
    with path.open("rb") as file:
        return file.read(_MAX_FILE_BYTES)


def _parse_release(state: dict[str, Any]) -> Release:
    last = state.get("last_evaluation")
    evaluation = last if isinstance(last, dict) else {}
    found = evaluation.get("checks")
    checks = [one for one in (found if isinstance(found, list) else []) if isinstance(one, dict)]
    queries = parse_recorded_queries(evaluation)
    return Release(
        id=_text(state.get("id")),
        kind=_text(state.get("kind")),
        phase=_text(state.get("phase")),
        phase_started_at=parse_seconds(state.get("phase_started_at")),
        started_at=parse_seconds(state.get("started_at")),
        started_by=_text(state.get("started_by")),
        completed_at=parse_seconds(state.get("completed_at")),
        version=_text(state.get("version")),
        commit=_text(state.get("commit")),
        outcome=_text(state.get("outcome")),
        reason=_text(state.get("reason")),
        deadline=parse_seconds(state.get("analysis_deadline")),
        is_extended=state.get("window_extended") is True,
        verdict=_text(evaluation.get("verdict")),
        verdict_reason=_text(evaluation.get("reason")),
        evaluated_at=parse_seconds(evaluation.get("evaluated_at")),
        checks=[_parse_check(check, queries) for check in checks],
        queries=queries,
    )


def _parse_check(check: dict[str, Any], queries: RecordedQueries) -> Check:
    passed = check.get("passed")  # of versions before `marquee analyze`
    outcome = "" if passed is None else "passed" if passed else "failed"
    sentence = f"{_text(check.get('value'))} ({_text(check.get('limit'))})"
    return Check(
        title=_text(check.get("title") or check.get("name")),
        kind=_text(check.get("kind")),
        outcome=_text(check.get("outcome")) or outcome or "unknown",
        sentence=_text(check.get("sentence")) or sentence,
        picture=draw_check(check),
        query=queries.fill_for_check(check),
    )


def _parse_guard(event: dict[str, Any]) -> Guard:
    return Guard(
        time=parse_seconds(event.get("evaluated_at")) or parse_seconds(event.get("time")),
        verdict=_text(event.get("verdict")),
        reason=_text(event.get("reason")),
        failed=bool(event.get("query_failed")),
    )


def _describe_past(release_id: str, events: list[dict[str, Any]]) -> PastRelease:
    started = _find_event(events, "release_started")
    # Version 0.2.0 has written `ended`.
    ended = _find_event(events[::-1], "release_completed", "ended")
    return PastRelease(
        id=release_id,
        kind=_text(ended.get("kind") or started.get("kind")),
        version=_text(ended.get("version") or started.get("version")),
        outcome=_text(ended.get("outcome")) or "in progress",
        reason=_text(ended.get("reason")),
        started_at=parse_seconds(started.get("time")),
        ended_at=parse_seconds(ended.get("time")),
    )


def _find_event(events: list[dict[str, Any]], *names: str) -> dict[str, Any]:
    """The first event of one of these names; an empty one without it."""
    return next((event for event in events if event.get("event") in names), {})


def _text(value: Any) -> str:
    return "" if value is None else str(value)[:2000]
