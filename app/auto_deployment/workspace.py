"""The directory that versions are built in: a clone, a lock, and the state between runs."""

import json
import os
import shutil
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from app import logs
from app.atomic_files import staged_directory, write_file
from app.auto_deployment.errors import DeploymentError
from app.auto_deployment.git_dvc import CommandTimeouts, WorkingTree
from app.locks import LockHeldError, exclusive_lock, is_locked
from app.settings import Settings
from app.text_files import parse_json

#: The current run and its step; left behind by a run that was killed.
RUN_FILE = "run.json"
#: How the last run ended.
STATE_FILE = "state.json"
#: A version that is committed in the clone and not completely published.
PENDING_FILE = "pending.json"
#: Spans of rejected batches that no published version excludes yet.
EXCLUDED_FILE = "excluded.json"
#: Figures of the fairness reports of published versions.
FAIRNESS_FILE = "fairness.json"
#: What became of the console's orders to retrain.
ORDERS_FILE = "orders.json"
_LOCK_FILE = "lock"
#: Longer than the moment for which `is_running` holds the lock.
_LOCK_TIMEOUT_SECONDS = 0.5
_LOG_BYTES = 1_000_000
_TAIL_BYTES = 20_000
_log = logs.get(__name__)


class Workspace:
    """The workspace directory, for one run of retraining at a time.

    Attributes:
        path: the directory, absolute.
        log_file: output of git, DVC and its stages.
        clone: the clone of the repository.
    """

    def __init__(self, settings: Settings) -> None:
        self.path = Path(os.path.abspath(settings.workspace_dir))  # noqa: PTH100 - keeps links
        self._settings = settings
        self._pass_fds: tuple[int, ...] = ()
        self.log_file = self.path / "run.log"
        self.clone = self.path / "clone"

    @contextmanager
    def lock(self) -> Iterator[None]:
        """Hold the workspace's lock; the commands that a run starts hold it, too.

        Raises:
            DeploymentError: another run holds it.
        """
        self.path.mkdir(parents=True, exist_ok=True)
        with ExitStack() as stack:
            try:
                lock = exclusive_lock(self.path / _LOCK_FILE, timeout_seconds=_LOCK_TIMEOUT_SECONDS)
                descriptor = stack.enter_context(lock)
            except LockHeldError as error:
                step = self.read(RUN_FILE).get("step", "start")
                raise DeploymentError(
                    f"another retraining is running: {error.owner}, step {step}"
                ) from error
            self._pass_fds = (descriptor,)
            yield

    def is_running(self) -> bool:
        """Whether a run, or a command that a killed run had started, holds the lock."""
        try:
            return is_locked(self.path / _LOCK_FILE)
        except OSError as error:
            _log.error("cannot read the lock of the workspace", error=str(error))
            return False

    def read(self, name: str) -> dict[str, Any]:
        """Read one of the JSON files; empty when it is missing or damaged."""
        try:
            content = parse_json((self.path / name).read_bytes())
        except FileNotFoundError:
            return {}
        except (OSError, ValueError) as error:
            _log.error("cannot read a file of the workspace", file=name, error=str(error))
            return {}
        return content if isinstance(content, dict) else {}

    def write(self, name: str, content: dict[str, Any]) -> None:
        """Replace one of the JSON files."""
        write_file(self.path / name, (json.dumps(content, indent=1) + "\n").encode())

    def remove(self, name: str) -> None:
        """Remove one of the JSON files if it exists."""
        (self.path / name).unlink(missing_ok=True)

    def start_step(self, name: str) -> None:
        """Record the step that begins, in the log and for a run after a kill."""
        started_at = self.read(RUN_FILE).get("started_at")
        started_at = started_at or datetime.now(UTC).isoformat(timespec="seconds")
        self.write(RUN_FILE, {"started_at": started_at, "step": name})
        _log.info("step", step=name)

    def tail_log(self, lines: int = 30) -> str:
        """Return the last lines of the log file."""
        try:
            with self.log_file.open("rb") as file:
                file.seek(max(0, file.seek(0, os.SEEK_END) - _TAIL_BYTES))
                return "\n".join(file.read().decode(errors="replace").splitlines()[-lines:])
        except FileNotFoundError:
            return ""

    def open_clone(self) -> WorkingTree:
        """Return the clone; clone it first where it is missing, repair it after a kill.

        Raises:
            DeploymentError: the repository cannot be cloned.
        """
        if self.log_file.exists() and self.log_file.stat().st_size > _LOG_BYTES:
            self.log_file.replace(self.log_file.with_suffix(".log.old"))
        settings = self._settings
        if not (self.clone / ".git").exists():
            with staged_directory(self.clone) as staged:
                tree = self._open_tree(staged, {})
                branch = ("--branch", settings.git_branch, "--single-branch", "--no-tags")
                tree.git("clone", "--quiet", *branch, settings.git_remote, ".")
        tree = self._open_tree(self.clone, self._environment())
        self._repair(tree)
        name, _, mail = settings.git_author.rstrip(">").partition(" <")
        for key, value in (("user.name", name), ("user.email", mail), ("gc.autoDetach", "false")):
            tree.git("config", key, value)
        tree.git("remote", "set-url", "origin", settings.git_remote)
        tree.set_dvc_remote(settings.dvc_remote)
        tree.use_own_dvc_cache()
        return tree

    def _open_tree(self, path: Path, environment: dict[str, str]) -> WorkingTree:
        timeouts = CommandTimeouts.of(self._settings)
        return WorkingTree(path, environment, self.log_file, self._pass_fds, timeouts)

    def _environment(self) -> dict[str, str]:
        """Stages run the clone's code, which the commit names; DVC writes only here."""
        dvc = self.path / "dvc"
        return {
            "PYTHONPATH": str(self.clone),
            "DVC_SITE_CACHE_DIR": str(dvc / "site"),
            "DVC_GLOBAL_CONFIG_DIR": str(dvc / "global"),
            "MARQUEE_LOG_FORMAT": "terminal",
        }

    def _repair(self, tree: WorkingTree) -> None:
        """Remove the locks of killed git and DVC processes: this run holds the workspace's lock."""
        git = self.clone / ".git"
        for path in [*git.glob("*.lock"), *(git / "refs").rglob("*.lock")]:
            path.unlink()
        for name in ("rwlock", "rwlock.lock"):
            (self.clone / ".dvc" / "tmp" / name).unlink(missing_ok=True)
        for name in ("rebase-merge", "rebase-apply"):
            shutil.rmtree(git / name, ignore_errors=True)
        tree.git("checkout", "--quiet", "--force", self._settings.git_branch)
