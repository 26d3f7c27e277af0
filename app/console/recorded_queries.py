"""The queries behind checks and guards, as an evaluation of `marquee analyze` has recorded them."""

import re
from dataclasses import dataclass, field
from typing import Any

from app.text_files import parse_seconds

_PLACEHOLDER = re.compile(r"\$(?:WINDOW|TIME)")


@dataclass(frozen=True)
class RecordedQueries:
    """Queries of the counters that an evaluation is computed from.

    Attributes:
        by_counter: PromQL by the counter's name, with $WINDOW and $TIME to fill in; empty where the
            evaluation is of a version that recorded none.
        until: Unix time of the end of the last minute that was judged.
        guard_seconds: the last seconds that guards look at.
    """

    by_counter: dict[str, str] = field(default_factory=dict)
    until: float = 0.0
    guard_seconds: float = 300.0

    def fill_for_check(self, check: dict[str, Any]) -> str:
        """Return the query of a check of the evaluation; empty where there is none."""
        names, window = check.get("counters"), parse_seconds(check.get("window_seconds"))
        if not isinstance(names, list) or window is None or not self.until:
            return ""
        known = [name for name in names if isinstance(name, str) and name in self.by_counter]
        return " or ".join(_fill(self.by_counter[name], window, self.until) for name in known)

    def fill_for_guard(self, until: float) -> list[str]:
        """Return the queries of what guards looked at that were evaluated at a Unix time."""
        return [_fill(text, self.guard_seconds, until) for text in self.by_counter.values()]


def parse_recorded_queries(evaluation: dict[str, Any]) -> RecordedQueries:
    """Read what an evaluation has recorded; fields of another type count as missing."""
    queries, checks = evaluation.get("queries"), evaluation.get("checks")
    if not isinstance(queries, dict):
        return RecordedQueries()
    windows = (
        parse_seconds(check.get("window_seconds"))
        for check in (checks if isinstance(checks, list) else [])
        if isinstance(check, dict) and check.get("kind") == "guard"
    )
    return RecordedQueries(
        by_counter={name: text for name, text in queries.items() if isinstance(text, str)},
        until=parse_seconds(evaluation.get("until")) or 0.0,
        guard_seconds=max((window for window in windows if window), default=300.0),
    )


def _fill(query: str, window_seconds: float, until: float) -> str:
    values = {"$WINDOW": f"{max(window_seconds, 1):.0f}s", "$TIME": f"{until:.0f}"}
    return _PLACEHOLDER.sub(lambda match: values[match[0]], query)
