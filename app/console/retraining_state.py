"""Read how the last retraining ended, from the scheduler's workspace."""

import json
from dataclasses import dataclass
from pathlib import Path

from app.console.sources import SourceError

#: The names that `app.auto_deployment.workspace` gives its files.
STATE_FILE, RUN_FILE = "state.json", "run.json"
_MAX_FILE_BYTES = 1_000_000


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


def read_retraining_state(workspace: Path) -> RetrainingState:
    """Read the files of the workspace.

    Raises:
        SourceError: a file cannot be read or is damaged.
    """
    state, run = _read(workspace / STATE_FILE), _read(workspace / RUN_FILE)
    finished_at = state.get("finished_at")
    return RetrainingState(
        status=str(state.get("status") or ""),
        subject=str(state.get("subject") or "")[:2000],
        finished_at=float(finished_at) if isinstance(finished_at, int | float) else None,
        step=str(run.get("step") or "")[:100],
    )


def _read(path: Path) -> dict[str, object]:
    try:
        with path.open("rb") as file:
            content = json.loads(file.read(_MAX_FILE_BYTES))
    except FileNotFoundError:
        return {}
    except OSError as error:
        raise SourceError(f"{path.name} cannot be read: {error.strerror or error}") from error
    except (ValueError, RecursionError) as error:
        raise SourceError(f"{path.name} is damaged") from error
    return content if isinstance(content, dict) else {}
