"""The place where versions are made: a clone of its own, and what a run leaves for the next."""

import fcntl
import json
import os
import shutil
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from app import logs
from app.atomic_files import staged_directory, write_file
from app.auto_deployment.errors import DeploymentError
from app.auto_deployment.git_dvc import Tree
from app.settings import Settings

_LOG_BYTES = 1_000_000
_log = logs.get(__name__)


class Workspace:
    """A directory with the clone, a lock, and small files that survive a kill.

    `run.json`: the run under way and its step. `pending.json`: a version that is made and not yet
    known to everyone. `state.json`: how the last run ended. `refused.json`: batches that stay out.
    """

    def __init__(self, settings: Settings) -> None:
        self.path = Path(os.path.abspath(settings.workspace_dir))  # noqa: PTH100 - keeps links
        self._settings = settings
        self._lock = -1
        self.log = self.path / "run.log"
        self.clone = self.path / "clone"

    @contextmanager
    def locked(self) -> Iterator[None]:
        """One run at a time, which whatever it starts is part of.

        Raises:
            DeploymentError: another is under way.
        """
        self.path.mkdir(parents=True, exist_ok=True)
        self._lock = os.open(self.path / "lock", os.O_RDWR | os.O_CREAT, 0o640)
        try:
            fcntl.flock(self._lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError as error:
            os.close(self._lock)
            run = self.read("run.json")
            raise DeploymentError(
                f"a retraining is under way since {run.get('started', 'just now')} "
                f"(process {run.get('pid', 'unknown')}, step {run.get('step', 'unknown')})"
            ) from error
        try:
            yield
        finally:
            os.close(self._lock)

    def read(self, name: str) -> dict[str, Any]:
        """One of the small files; empty where there is none, or none that makes sense."""
        try:
            found = json.loads((self.path / name).read_bytes())
        except FileNotFoundError:
            return {}
        except (OSError, ValueError) as error:
            _log.error("a file of the workspace makes no sense", file=name, why=str(error))
            return {}
        return found if isinstance(found, dict) else {}

    def write(self, name: str, content: dict[str, Any]) -> None:
        """Replace one of the small files."""
        write_file(self.path / name, (json.dumps(content, indent=1) + "\n").encode())

    def remove(self, name: str) -> None:
        """Remove one of the small files, if it is there."""
        (self.path / name).unlink(missing_ok=True)

    def step(self, name: str) -> None:
        """Note what is being done."""
        run = self.read("run.json")
        started = run.get("started") or time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime())
        self.write("run.json", {"pid": os.getpid(), "started": started, "step": name})
        _log.info("step", step=name)

    def last_lines(self, lines: int = 30) -> str:
        """The end of what git, DVC and the stages said."""
        try:
            with self.log.open("rb") as file:
                file.seek(max(0, file.seek(0, os.SEEK_END) - 20_000))
                return "\n".join(file.read().decode(errors="replace").splitlines()[-lines:])
        except FileNotFoundError:
            return ""

    def open_clone(self) -> Tree:
        """The clone, made where it is missing, and mended after a kill.

        Raises:
            DeploymentError: the repository cannot be cloned.
        """
        if self.log.exists() and self.log.stat().st_size > _LOG_BYTES:
            self.log.replace(self.log.with_suffix(".log.old"))
        settings = self._settings
        if not (self.clone / ".git").exists():
            with staged_directory(self.clone) as staged:
                where = Tree(staged, log=self.log, inherited=(self._lock,))
                branch = ("--branch", settings.git_branch, "--single-branch")
                where.git("clone", "--quiet", *branch, settings.git_remote, ".")
        tree = Tree(self.clone, self._environment(), self.log, (self._lock,))
        self._mend(tree)
        name, _, mail = settings.git_author.rstrip(">").partition(" <")
        for key, value in (("user.name", name), ("user.email", mail), ("gc.autoDetach", "false")):
            tree.git("config", key, value)
        tree.git("remote", "set-url", "origin", settings.git_remote)
        tree.use_remote(settings.dvc_remote)
        return tree

    def _environment(self) -> dict[str, str]:
        """Stages run the code of the clone, which the commit names; DVC writes nowhere else."""
        dvc = self.path / "dvc"
        return {
            "PYTHONPATH": str(self.clone),
            "DVC_SITE_CACHE_DIR": str(dvc / "site"),
            "DVC_GLOBAL_CONFIG_DIR": str(dvc / "global"),
            "MARQUEE_LOG_FORMAT": "terminal",
        }

    def _mend(self, tree: Tree) -> None:
        """Take away the locks of processes that were killed: ours is held, so nobody has them."""
        git = self.clone / ".git"
        for path in [*git.glob("*.lock"), *(git / "refs").rglob("*.lock")]:
            path.unlink()
        for name in ("rwlock", "rwlock.lock"):
            (self.clone / ".dvc" / "tmp" / name).unlink(missing_ok=True)
        for name in ("rebase-merge", "rebase-apply"):
            shutil.rmtree(git / name, ignore_errors=True)
        tree.git("checkout", "--quiet", "--force", self._settings.git_branch)
