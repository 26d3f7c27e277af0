"""One run of retraining: build a version from the collected data, commit it and publish it.

A run that fails or is killed leaves the next one either nothing, or a committed version to publish.
"""

import time
import traceback
from dataclasses import dataclass, field
from typing import Any, Literal

from tenacity import retry, retry_if_exception_type, stop_after_attempt

from app import logs
from app.auto_deployment.build_version import VersionBuilder
from app.auto_deployment.errors import NoVersionError, ToolError, VersionTakenError
from app.auto_deployment.publish import PendingRelease, Publisher
from app.auto_deployment.workspace import PENDING_FILE, RUN_FILE, STATE_FILE, Workspace
from app.cli_errors import MarqueeError
from app.ingest.store_files import read_manifest
from app.notifications.notifier import Notifier
from app.settings import Settings

Status = Literal[
    "published", "unchanged", "no_data", "disabled", "data_rejected", "gate_failed", "failed"
]
#: Runs that count as the last success. (A run without data counts as neither.)
_SUCCESSFUL: tuple[Status, ...] = ("published", "unchanged", "disabled")
#: Runs that end with a notification and exit status 1.
UNSUCCESSFUL: tuple[Status, ...] = ("data_rejected", "gate_failed", "failed")
_ATTEMPTS = 3
_REPEAT_NOTIFICATION_SECONDS = 24 * 3600
_log = logs.get(__name__)


@dataclass(frozen=True)
class RunResult:
    """How a run ended.

    Attributes:
        status: `published`: a new version; `unchanged`: nothing has changed since the previous
            version; `no_data`: nothing was collected yet; `disabled`: no repository is configured;
            `data_rejected`, `gate_failed`: the data or the model was rejected; `failed`: an error.
        subject: the result in one line.
        body: details.
        version: the version that was published.
        metrics: of the model, or of the data that was rejected.
    """

    status: Status
    subject: str
    body: str = ""
    version: int | None = None
    metrics: dict[str, Any] = field(default_factory=dict)


def retrain(
    settings: Settings, notifier: Notifier, *, accept_data: bool = False, force: bool = False
) -> RunResult:
    """Run once.

    Args:
        settings: all settings.
        notifier: sends the notifications.
        accept_data: include rejected batches and skip the data checks.
        force: build a version even if nothing has changed.

    Raises:
        DeploymentError: another run holds the workspace's lock; no notification is sent.
    """
    if not settings.git_remote:
        return RunResult("disabled", "Retraining is disabled: MARQUEE_GIT_REMOTE is not set")
    workspace = Workspace(settings)
    run = _Run(settings, workspace, notifier, accept_data, force)
    with workspace.lock():
        _report_killed_run(workspace, notifier)
        started = time.time()
        try:
            result = run.execute()
            notified_at = _notify(workspace, notifier, result)
            _save_state(workspace, result, started, notified_at)
        except (SystemExit, KeyboardInterrupt):
            _log.warning("stopped by a signal; the next run resumes or starts again")
            raise
        finally:
            workspace.remove(RUN_FILE)  # only a kill leaves it
        notifier.flush()
    return result


@dataclass(frozen=True)
class _Run:
    """A run that holds the workspace's lock."""

    settings: Settings
    workspace: Workspace
    notifier: Notifier
    accept_data: bool
    force: bool

    def execute(self) -> RunResult:
        """Run, and turn errors into a result."""
        try:
            return self._resume_or_build()
        except NoVersionError as error:
            return RunResult(error.status, error.subject, str(error), metrics=error.metrics)
        except (MarqueeError, OSError) as error:
            lines = error.output if isinstance(error, ToolError) else self.workspace.tail_log()
            step = self.workspace.read(RUN_FILE).get("step", "start")
            _log.error("retraining failed", step=step, error=str(error))
            body = f"{error}\n\nLast lines:\n{lines}"
            return RunResult("failed", f"Retraining failed ({step})", body)
        except Exception as error:  # noqa: BLE001 - any other error is notified, with its traceback
            _log.exception("retraining crashed")
            subject = f"Retraining crashed ({type(error).__name__})"
            return RunResult("failed", subject, traceback.format_exc())

    def _resume_or_build(self) -> RunResult:
        store = self.settings.store_dir
        manifest = read_manifest(store)
        if manifest is None or not manifest.segment_names:
            found = "there is no store at" if manifest is None else "no events are in the store"
            return RunResult("no_data", f"Nothing was collected yet: {found} {store}")
        self.workspace.start_step("clone")
        tree = self.workspace.open_clone()
        publisher = Publisher(self.settings, self.workspace, self.notifier)
        pending = PendingRelease.read(self.workspace)
        if pending and pending.is_committed(tree):
            try:
                publisher.publish(tree, pending)
            except VersionTakenError as error:
                _log.warning("the pending version is dropped", reason=str(error))
            else:
                return _published(pending)
        self.workspace.remove(PENDING_FILE)
        try:
            return build_and_publish(
                VersionBuilder(self.settings, self.workspace, tree),
                publisher,
                self.workspace,
                accept_data=self.accept_data,
                force=self.force,
            )
        except NoVersionError as error:
            if error.status != "unchanged":
                self.workspace.start_step("prune")
                publisher.prune_cache(tree)
            raise


@retry(
    retry=retry_if_exception_type(VersionTakenError),
    stop=stop_after_attempt(_ATTEMPTS),
    reraise=True,
)
def build_and_publish(
    builder: VersionBuilder,
    publisher: Publisher,
    workspace: Workspace,
    *,
    accept_data: bool = False,
    force: bool = False,
) -> RunResult:
    """Build and publish a version; again when others published one meanwhile.

    Args:
        builder: works in the workspace's clone.
        publisher: of the same workspace.
        workspace: of this run; records the pending version.
        accept_data: include rejected batches and skip the data checks.
        force: build a version even if nothing has changed.

    Raises:
        VersionTakenError: others came first at every attempt.
        NoVersionError: nothing has changed, or the data or the model was rejected.
        DeploymentError: a remote cannot be reached; a committed version waits for the next run.
    """
    built = builder.build(accept_data=accept_data, force=force)
    workspace.start_step("commit")
    pending = PendingRelease(built.number, built.body)
    pending.save(workspace)  # first: a kill before the commit leaves nothing to publish
    builder.commit(built)
    publisher.publish(builder.tree, pending)
    return _published(pending, built.metrics)


def _published(pending: PendingRelease, metrics: dict[str, Any] | None = None) -> RunResult:
    subject = f"Version {pending.version} trained and pushed"
    return RunResult("published", subject, pending.body, pending.version, metrics or {})


def _report_killed_run(workspace: Workspace, notifier: Notifier) -> None:
    """Notify of a run that left its run file: it was killed."""
    run = workspace.read(RUN_FILE)
    if run:
        step, started_at = run.get("step"), run.get("started_at")
        _log.warning("the previous run was killed", step=step, started_at=started_at)
        _send(
            notifier,
            f"Retraining was killed ({step})",
            f"The run that started at {started_at} was killed in the step {step!r}. This run "
            f"resumes it or starts again.\n\nLast lines:\n{workspace.tail_log()}",
        )
        workspace.remove(RUN_FILE)


def _notify(workspace: Workspace, notifier: Notifier, result: RunResult) -> float:
    """Send the notification of an unsuccessful run, the same failure once a day.

    Returns:
        When the last one was sent, in seconds since 1970; 0 without one.
    """
    if _was_notified(workspace, result):
        return float(workspace.read(STATE_FILE)["notified_at"])
    if result.status in UNSUCCESSFUL and _send(notifier, result.subject, result.body):
        return time.time()
    return 0


def _send(notifier: Notifier, subject: str, body: str) -> bool:
    """Send a notification; return False if it could be neither delivered nor saved."""
    try:
        notifier.send(subject, body)
    except (MarqueeError, OSError) as error:
        _log.error("cannot notify", subject=subject, error=str(error))
        return False
    return True


def _was_notified(workspace: Workspace, result: RunResult) -> bool:
    """Whether a notification of the same failure was sent within a day."""
    state = workspace.read(STATE_FILE)
    same = (state.get("status"), state.get("subject")) == (result.status, result.subject)
    age_seconds = time.time() - float(state.get("notified_at", 0))
    return result.status == "failed" and same and age_seconds < _REPEAT_NOTIFICATION_SECONDS


def _save_state(
    workspace: Workspace, result: RunResult, started: float, notified_at: float
) -> None:
    """Save how the run ended, for the scheduler and its metrics; times in seconds since 1970.

    A failure, as on a full disk, is logged: the result of the run is the same.
    """
    state = workspace.read(STATE_FILE)
    now, successful = time.time(), result.status in _SUCCESSFUL
    runs = {**state.get("runs", {})}
    runs[result.status] = runs.get(result.status, 0) + 1
    waited = result.status == "no_data"
    content = {
        "status": result.status,
        "subject": result.subject,
        "finished_at": now,
        "duration_seconds": round(now - started, 3),
        "last_success_at": now if successful else state.get("last_success_at"),
        "last_no_data_at": now if waited else state.get("last_no_data_at"),
        "version": result.version or state.get("version"),
        "notified_at": notified_at,
        "runs": runs,
    }
    try:
        workspace.write(STATE_FILE, content)
    except OSError as error:
        _log.error("cannot save how the run ended", error=str(error))
