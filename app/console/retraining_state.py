"""Ask the scheduler how the last retraining ended."""

import json
from dataclasses import dataclass, field
from typing import Any
from urllib.error import URLError
from urllib.request import urlopen

from app.console.sources import SourceError

_TIMEOUT_SECONDS = 2.0
_MAX_RESPONSE_BYTES = 1_000_000


@dataclass(frozen=True)
class Fairness:
    """Figures of a version's fairness report (`reports/fairness.json` of its commit).

    Attributes:
        version: its number.
        users: number of users that were measured.
        coverage: share of the movies that are shown at all.
        gini: Gini coefficient of the movies' exposure.
        similarity: share of the movies that two users' lists have in common.
        most_popular: share of the places that the most popular 1 % of the movies have.
        summary: of the groups of users, in one sentence.
    """

    version: int
    users: float | None
    coverage: float | None
    gini: float | None
    similarity: float | None
    most_popular: float | None
    summary: str


@dataclass(frozen=True)
class RetrainingState:
    """The last run, and the step of one in progress; empty texts where there is none.

    Attributes:
        status: such as `published`, `gate_failed` or `data_rejected`.
        subject: what happened, in one sentence.
        finished_at: when the last run ended, in Unix seconds.
        step: of the run in progress, or of one that was killed.
        orders: what became of the console's orders: id -> outcome and detail.
        fairness: figures of the fairness reports of published versions, newest version first.
    """

    status: str = ""
    subject: str = ""
    finished_at: float | None = None
    step: str = ""
    orders: dict[str, tuple[str, str]] = field(default_factory=dict)
    fairness: list[Fairness] = field(default_factory=list)


def fetch_retraining_state(url: str) -> RetrainingState:
    """Fetch `/state` of the scheduler at a base URL.

    Raises:
        SourceError: no response in time, or one that cannot be used.
    """
    try:
        with urlopen(f"{url.rstrip('/')}/state", timeout=_TIMEOUT_SECONDS) as response:  # noqa: S310 - a setting
            content = json.loads(response.read(_MAX_RESPONSE_BYTES))
    except URLError as error:
        raise SourceError(f"the scheduler does not respond: {error.reason}") from error
    except OSError as error:
        raise SourceError(f"the scheduler does not respond: {error}") from error
    except (ValueError, RecursionError) as error:
        raise SourceError("the scheduler returned an answer of an unknown form") from error
    if not isinstance(content, dict):
        raise SourceError("the scheduler returned an answer of an unknown form")
    finished_at = content.get("finished_at")
    return RetrainingState(
        status=str(content.get("status") or "")[:100],
        subject=str(content.get("subject") or "")[:2000],
        finished_at=float(finished_at) if isinstance(finished_at, int | float) else None,
        step=str(content.get("step") or "")[:100],
        orders=dict(_describe_order(one) for one in _objects(content.get("orders"))),
        fairness=[
            _parse_fairness(one)
            for one in reversed(_objects(content.get("fairness")))
            if isinstance(one.get("version"), int)
        ],
    )


def _parse_fairness(row: dict[str, Any]) -> Fairness:
    names = ("users", "coverage", "gini", "similarity", "most_popular")
    figures = {name: _number(row.get(name)) for name in names}
    summary = str(row.get("summary") or "")[:500]
    return Fairness(version=row["version"], summary=summary, **figures)


def _number(value: Any) -> float | None:
    is_number = isinstance(value, int | float) and not isinstance(value, bool)
    return float(value) if is_number else None


def _objects(content: Any) -> list[dict[str, Any]]:
    """The objects of a list; none of what is no list."""
    return [one for one in content if isinstance(one, dict)] if isinstance(content, list) else []


def _describe_order(order: dict[str, Any]) -> tuple[str, tuple[str, str]]:
    outcome, detail = (str(order.get(name) or "")[:2000] for name in ("outcome", "detail"))
    return str(order.get("id")), (outcome, detail)
