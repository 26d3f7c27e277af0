"""Ask the scheduler how the last retraining ended."""

import json
from dataclasses import dataclass
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
    """

    status: str = ""
    subject: str = ""
    finished_at: float | None = None
    step: str = ""


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
    )
