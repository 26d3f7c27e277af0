"""Is all well? If not, what is wrong, and where to read on."""

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any
from urllib.parse import quote

from app.console.prometheus import Alert
from app.console.sources import Reading, Source

#: A problem of these severities is shown before others.
_SEVERE = ("page", "critical")


@dataclass(frozen=True)
class Problem:
    """Something that is wrong.

    Attributes:
        text: what it is, in one sentence.
        since: since when: Unix seconds, or a time as text.
        link: page to read on.
        link_text: what is there.
        is_severe: whether it affects the service.
    """

    text: str
    since: float | str | None
    link: str
    link_text: str
    is_severe: bool


def link_runbook(alert: str) -> str:
    """Return the address of an alert's section of the runbook."""
    return f"/runbook/{quote(alert, safe='', errors='replace')}"


def find_problems(alerts: Reading[list[Alert]], sources: Iterable[Source[Any]]) -> list[Problem]:
    """Return the alerts that fire and the sources that are away, severe ones first."""
    problems = [
        Problem(
            text=alert.summary or alert.name,
            since=alert.active_at,
            link=link_runbook(alert.name),
            link_text=f"runbook: {alert.name}",
            is_severe=alert.severity in _SEVERE,
        )
        for alert in alerts.value or []
        if alert.state == "firing"
    ]
    for source in sources:
        reading = source.get()
        if reading.is_away:
            text = f"{source.name}: {reading.error}. {source.missing}"
            problems.append(
                Problem(text, reading.failing_since, "/sources", "sources of this console", False)
            )
    return sorted(problems, key=lambda problem: not problem.is_severe)
