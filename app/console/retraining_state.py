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
class RetrainingState:
    """The last run, and the step of one in progress; empty texts where there is none.

    Attributes:
        status: such as `published`, `gate_failed` or `data_rejected`.
        subject: what happened, in one sentence.
        finished_at: when the last run ended, in Unix seconds.
        step: of the run in progress, or of one that was killed.
        orders: what became of the console's orders: id -> outcome and detail.
    """

    status: str = ""
    subject: str = ""
    finished_at: float | None = None
    step: str = ""
    orders: dict[str, tuple[str, str]] = field(default_factory=dict)


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
    )


def _objects(content: Any) -> list[dict[str, Any]]:
    """The objects of a list; none of what is no list."""
    return [one for one in content if isinstance(one, dict)] if isinstance(content, list) else []


def _describe_order(order: dict[str, Any]) -> tuple[str, tuple[str, str]]:
    outcome, detail = (str(order.get(name) or "")[:2000] for name in ("outcome", "detail"))
    return str(order.get("id")), (outcome, detail)
