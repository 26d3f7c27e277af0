"""From what was collected to a pushed version: check, rehearse, judge, train, commit, publish.

A run that fails or is killed leaves the next one either nothing, or a committed version to publish.
"""

import time
import traceback
from dataclasses import dataclass, field
from typing import Any, Literal

from app import logs
from app.auto_deployment.build_version import Made, Maker, NoVersionError
from app.auto_deployment.errors import DeploymentError
from app.auto_deployment.git_dvc import ToolError
from app.auto_deployment.publish import Pending, Publisher
from app.auto_deployment.workspace import Workspace
from app.ingest.errors import IngestError
from app.notifications.errors import NotificationError
from app.notifications.notifier import Notifier
from app.settings import Settings

Status = Literal["published", "unchanged", "waiting", "idle", "refused", "gate", "failed"]
#: The run did what there was to do.
GOOD: tuple[Status, ...] = ("published", "unchanged", "idle")
#: There was nothing to do it with, and nobody needs to be told.
QUIET: tuple[Status, ...] = (*GOOD, "waiting")
STATE = "state.json"
_RUN = "run.json"
_ATTEMPTS = 3
_SAME_FAILURE_SECONDS = 24 * 3600
_log = logs.get(__name__)


@dataclass(frozen=True)
class Outcome:
    """How a run ended.

    Attributes:
        status: published a new version; unchanged, so there was nothing to make; waiting for
            the first event; idle: no repository is set; data refused; model did not pass the
            gate; failed for another reason.
        subject: one line for people.
        body: the figures, or the reason.
        version: the version that was published.
    """

    status: Status
    subject: str
    body: str = ""
    version: int | None = None
    figures: dict[str, Any] = field(default_factory=dict)


def retrain(
    settings: Settings, notifier: Notifier, *, accept: bool = False, force: bool = False
) -> Outcome:
    """Run once.

    Args:
        settings: where everything lies.
        notifier: how people are told.
        accept: take in what was refused, and do not judge the data this time.
        force: make a version even when nothing has changed.

    Raises:
        DeploymentError: another run is under way; nobody is told of that.
    """
    if not settings.git_remote:
        return Outcome("idle", "no versions are made: MARQUEE_GIT_REMOTE is not set")
    workspace = Workspace(settings)
    with workspace.locked():
        _tell_of_a_kill(workspace, notifier)
        began = time.time()
        try:
            outcome = _guarded(settings, workspace, notifier, accept, force)
        except (SystemExit, KeyboardInterrupt):
            _log.warning("told to stop; the next run goes on or starts anew")
            workspace.remove(_RUN)
            raise
        if outcome.status not in QUIET and not _said_before(workspace, outcome):
            notifier.send(outcome.subject, outcome.body)
        _note(workspace, outcome, began)
        workspace.remove(_RUN)
        notifier.flush()
    return outcome


def _guarded(
    settings: Settings, workspace: Workspace, notifier: Notifier, accept: bool, force: bool
) -> Outcome:
    """Any end of a run as an outcome, crashes with their last lines."""
    try:
        return _run(settings, workspace, notifier, accept, force)
    except NoVersionError as error:
        return Outcome(error.status, error.subject, str(error), figures=error.figures)
    except (DeploymentError, IngestError, NotificationError, OSError) as error:
        lines = error.output if isinstance(error, ToolError) else workspace.last_lines()
        step = workspace.read(_RUN).get("step", "start")
        _log.error("the retraining failed", step=step, why=str(error))
        return Outcome("failed", f"Retraining failed ({step})", f"{error}\n\nLast lines:\n{lines}")
    except Exception as error:  # noqa: BLE001 - whatever it is, people are told, with the trace
        _log.exception("the retraining crashed")
        trace = traceback.format_exc()
        return Outcome("failed", f"Retraining crashed ({type(error).__name__})", trace)


def _run(
    settings: Settings, workspace: Workspace, notifier: Notifier, accept: bool, force: bool
) -> Outcome:
    publisher = Publisher(settings, workspace, notifier)
    if not (settings.store_dir / "manifest.json").exists():
        return Outcome("waiting", f"nothing was collected yet: no store at {settings.store_dir}")
    workspace.step("clone")
    tree = workspace.open_clone()
    pending = Pending.read(workspace)
    if pending and pending.is_committed(tree) and publisher.publish(tree, pending):
        return _published(pending)
    maker = Maker(settings, workspace, tree)
    for _ in range(_ATTEMPTS):
        made = maker.make(accept=accept, force=force)
        pending = _commit(maker, workspace, made)
        if publisher.publish(tree, pending):
            return _published(pending, made.figures)
    raise DeploymentError(f"others made versions {_ATTEMPTS} times meanwhile")


def _commit(maker: Maker, workspace: Workspace, made: Made) -> Pending:
    """First what is to be published, then the commit: a kill between them leaves nothing."""
    workspace.step("commit")
    pending = Pending(made.number, made.body)
    pending.keep(workspace)
    maker.commit(made)
    return pending


def _published(pending: Pending, figures: dict[str, Any] | None = None) -> Outcome:
    return Outcome(
        "published",
        f"Version {pending.number} trained and pushed",
        pending.body,
        pending.number,
        figures or {},
    )


def _tell_of_a_kill(workspace: Workspace, notifier: Notifier) -> None:
    """A run that ended without saying so was killed."""
    left = workspace.read(_RUN)
    if left:
        _log.warning("the run before was killed", **{k: str(v) for k, v in left.items()})
        notifier.send(
            f"Retraining was killed ({left.get('step')})",
            f"The run that began at {left.get('started')} ended without a word in the step "
            f"{left.get('step')!r}. This one goes on or starts anew.\n\n"
            f"Last lines:\n{workspace.last_lines()}",
        )
        workspace.remove(_RUN)


def _said_before(workspace: Workspace, outcome: Outcome) -> bool:
    """The same failure is told once a day, however often it is tried again."""
    state = workspace.read(STATE)
    same = (state.get("status"), state.get("subject")) == (outcome.status, outcome.subject)
    recent = time.time() - float(state.get("told", 0)) < _SAME_FAILURE_SECONDS
    return outcome.status == "failed" and same and recent


def _note(workspace: Workspace, outcome: Outcome, began: float) -> None:
    """What the scheduler and its metrics go by."""
    state = workspace.read(STATE)
    now, good = time.time(), outcome.status in GOOD
    said = _said_before(workspace, outcome)
    runs = {**state.get("runs", {})}
    runs[outcome.status] = runs.get(outcome.status, 0) + 1
    workspace.write(
        STATE,
        {
            "status": outcome.status,
            "subject": outcome.subject,
            "finished": now,
            "seconds": round(now - began, 3),
            "last_success": now if good else state.get("last_success"),
            "version": outcome.version or state.get("version"),
            "told": state.get("told") if said else now,
            "runs": runs,
        },
    )
