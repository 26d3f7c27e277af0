"""The JSON object and the sentence that describe a decision."""

from dataclasses import dataclass
from typing import Any

import numpy as np

from app.canary_analysis.checks import FAILED, NEVER, PASSED, Check
from app.canary_analysis.verdict import ABORT, INCONCLUSIVE, PROMOTE, Decision

_OUTCOMES = {PASSED: "passed", FAILED: "failed"}
_VERDICTS = {PROMOTE: "PROMOTE", INCONCLUSIVE: "INCONCLUSIVE", ABORT: "ABORT"}


@dataclass(frozen=True)
class Window:
    """Minutes that have passed, and minutes of the whole window."""

    minutes: int
    length: int

    @property
    def is_over(self) -> bool:
        """Whether the deadline has come."""
        return self.minutes >= self.length


def describe_decision(decision: Decision, window: Window) -> dict[str, Any]:
    """Return verdict, minute, reason and checks of one release."""
    verdict = _VERDICTS[int(decision.verdict)]
    aborted_at = int(decision.aborted_at)
    minute = window.minutes - 1
    if aborted_at < NEVER:
        minute = aborted_at
    elif not window.is_over:
        verdict = "CONTINUE"
    return {
        "verdict": verdict,
        "minute": minute,
        "reason": _explain(decision, verdict, window),
        "checks": [describe_check(check) for check in decision.checks],
    }


def _explain(decision: Decision, verdict: str, window: Window) -> str:
    checks = decision.checks
    aborting = [c for c in checks if c.aborted_at is not None and int(c.aborted_at) < NEVER]
    if aborting:
        first = min(int(check.aborted_at) for check in aborting if check.aborted_at is not None)
        sentences = [
            _sentence(check)
            for check in aborting
            if check.aborted_at is not None and int(check.aborted_at) == first
        ]
        return f"guard in minute {first}: {'; '.join(sentences)}"
    if verdict == "CONTINUE":
        return f"minute {window.minutes} of {window.length}: no guard has aborted"
    if verdict == "PROMOTE":
        return "all checks passed: " + "; ".join(
            _sentence(check)
            for check in checks
            if check.kind == "comparison" and check.value is not None
        )
    wanted = FAILED if verdict == "ABORT" else None
    return (
        "; ".join(
            _sentence(check)
            for check in checks
            if check.outcome is not None
            and check.kind != "guard"
            and (int(check.outcome) == wanted if wanted else int(check.outcome) != PASSED)
        )
        or "no stable slot to compare with"
    )


def _sentence(check: Check) -> str:
    """Describe a check with its value, interval and limit."""
    if check.skipped:
        return f"{check.title}: {check.skipped}"
    text = f"{check.title} {_format(check, check.value)}"
    if check.reference is not None and check.kind in {"comparison", "shown"}:
        text += f" (stables {_format(check, check.reference)})"
    if check.kind == "shown":
        return f"{text}, not judged"
    if check.kind != "comparison":
        return f"{text}, must be {check.limit_text}{_needed(check)}"
    what = "difference" if check.difference else "interval"
    return (
        f"{text}, {what} {_format_interval(check)}, must be below "
        f"{_format(check, check.limit)}{_needed(check)}"
    )


def _needed(check: Check) -> str:
    number = _number(check.needed)
    if number is None or check.outcome is None or int(check.outcome) == PASSED:
        return ""
    return f", about {number:,.0f} more requests needed"


def _format_interval(check: Check) -> str:
    return f"from {_format(check, check.lower)} to {_format(check, check.upper)}"


def _format(check: Check, value: Any) -> str:
    number = _number(value)
    if number is None:
        return "unknown"
    if check.unit == "share":
        return f"{number * 100:.3g} %"
    if check.unit == "seconds":
        return f"{number * 1000:.3g} ms"
    return f"{number:,.0f}"


def _number(value: Any) -> float | None:
    if value is None:
        return None
    number = float(value)
    return number if np.isfinite(number) else None


def describe_check(check: Check) -> dict[str, Any]:
    """Return what is reported of a check of one release."""
    outcome = "shown" if check.kind == "shown" else "skipped"
    if check.outcome is not None:
        outcome = _OUTCOMES.get(int(check.outcome), "undecided")
    aborted_at = NEVER if check.aborted_at is None else int(check.aborted_at)
    needed = _number(check.needed) if outcome == "undecided" else None
    return {
        "name": check.name,
        "title": check.title,
        "kind": check.kind,
        "unit": check.unit,
        "outcome": outcome,
        "value": _number(check.value),
        "stables": _number(check.reference),
        "interval": None if check.lower is None else [_number(check.lower), _number(check.upper)],
        "interval_of": "difference" if check.difference else "value",
        "limit": _number(check.limit),
        "needed": None if needed is None else int(needed),
        "aborted_at": aborted_at if aborted_at < NEVER else None,
        "evidence": _number(check.evidence),
        "sentence": _sentence(check),
    }
