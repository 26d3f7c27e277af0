"""Run git, DVC and Marquee's own commands in one working tree."""

import contextlib
import os
import signal
import subprocess
import sys
import tempfile
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import BinaryIO

from app.auto_deployment.errors import ToolError
from app.settings import PREFIX, Settings

#: The name of the DVC remote in `.dvc/config`.
_DVC_REMOTE_NAME = "storage"


@dataclass(frozen=True)
class CommandTimeouts:
    """Time limits of the commands, in seconds.

    Attributes:
        transfer_seconds: for a command of git or DVC, such as a push.
        stage_seconds: for `dvc repro` and commands of Marquee, which may train for hours.
    """

    transfer_seconds: float = 3600
    stage_seconds: float = 24 * 3600

    @classmethod
    def of(cls, settings: Settings) -> "CommandTimeouts":
        """Return the limits of the settings."""
        return cls(settings.transfer_timeout_minutes * 60, settings.stage_timeout_hours * 3600)


@dataclass(frozen=True)
class WorkingTree:
    """A git working tree with a DVC repository.

    Attributes:
        path: its root directory.
        environment: variables added to the environment of the commands.
        log_file: file that the commands' output is appended to; None: output is only in errors.
        pass_fds: descriptors that the commands inherit. A lock on one of them is held until the
            last command ends, also when this process is killed.
        timeouts: how long a command may take.
    """

    path: Path
    environment: Mapping[str, str] = field(default_factory=dict)
    log_file: Path | None = None
    pass_fds: tuple[int, ...] = ()
    timeouts: CommandTimeouts = CommandTimeouts()

    def git(self, *arguments: str) -> str:
        """Run git and return its standard output without the last line end.

        Raises:
            ToolError: it failed, or exceeded the time limit of a transfer.
        """
        # No background gc: it would still write to the clone when the next run begins.
        command = ["git", "-c", "gc.autoDetach=false", *arguments]
        return self._run(command, f"git {arguments[0]}").rstrip("\n")

    def git_succeeds(self, *arguments: str) -> bool:
        """Run git and return whether its exit status is 0."""
        try:
            self.git(*arguments)
        except ToolError:
            return False
        return True

    def dvc(self, *arguments: str) -> str:
        """Run the DVC of this Python environment and return its standard output.

        Raises:
            ToolError: it failed, or exceeded the time limit: `repro` that of a stage, any other
                that of a transfer.
        """
        command = [sys.executable, "-m", "dvc", *arguments]
        return self._run(command, f"dvc {arguments[0]}", is_stage=arguments[0] == "repro")

    def marquee(self, *arguments: str) -> str:
        """Run a `marquee` command with the code that `PYTHONPATH` of `environment` names.

        Raises:
            ToolError: it failed, or exceeded the time limit of a stage.
        """
        command = [sys.executable, "-m", "app", *arguments]
        return self._run(command, arguments[0], is_stage=True)

    def set_dvc_remote(self, url: str) -> None:
        """Use the DVC remote at `url` in this working tree; an empty `url` changes nothing."""
        if url and f"url = {url}\n" not in self._read_local_dvc_config():
            self.dvc("remote", "modify", "--local", _DVC_REMOTE_NAME, "url", url)

    def use_own_dvc_cache(self) -> None:
        """Use a cache in this working tree, and no symbolic links to it.

        A repository may configure a shared cache, from which `dvc gc` would remove what others keep
        there; and a model that consists of links is not valid.
        """
        for name, value, stored in (
            ("dir", ".dvc/cache", "cache"),  # DVC stores a path relative to its file
            ("type", "reflink,copy", '"reflink,copy"'),
        ):
            if f"    {name} = {stored}\n" not in self._read_local_dvc_config():
                self.dvc("config", "--local", f"cache.{name}", value)

    def _read_local_dvc_config(self) -> str:
        try:
            path = self.path / ".dvc" / "config.local"
            return path.read_text(encoding="utf-8", errors="replace")
        except FileNotFoundError:
            return ""

    def _run(self, command: list[str], name: str, *, is_stage: bool = False) -> str:
        """Return standard output; standard error goes to the log file while the command runs."""
        limits = self.timeouts
        timeout_seconds = limits.stage_seconds if is_stage else limits.transfer_seconds
        with self._open_log() as log:
            start = log.seek(0, os.SEEK_END)
            try:
                process = subprocess.Popen(  # noqa: S603 - no shell, our own arguments
                    command,
                    cwd=self.path,
                    env=self._full_environment(),
                    stdin=subprocess.DEVNULL,
                    stdout=subprocess.PIPE,
                    stderr=log,
                    text=True,
                    errors="replace",
                    process_group=0,
                    pass_fds=self.pass_fds,
                )
                output = _communicate(process, timeout_seconds)
            except subprocess.TimeoutExpired as error:
                setting = "STAGE_TIMEOUT_HOURS" if is_stage else "TRANSFER_TIMEOUT_MINUTES"
                reason = f"stopped after {timeout_seconds:g} s ({PREFIX}{setting})"
                raise ToolError(name, reason) from error
            except OSError as error:
                raise ToolError(name, str(error)) from error
            if command[0] != "git" or process.returncode != 0:
                log.write(output.encode())
            if process.returncode != 0:
                log.seek(start)
                raise ToolError(name, log.read().decode(errors="replace"))
        return output

    def _open_log(self) -> BinaryIO:
        return tempfile.TemporaryFile() if self.log_file is None else self.log_file.open("ab+")

    def _full_environment(self) -> dict[str, str]:
        return {
            **os.environ,
            "GIT_TERMINAL_PROMPT": "0",
            "DVC_NO_ANALYTICS": "1",
            "PYTHONDONTWRITEBYTECODE": "1",
            # DVC's stages call `marquee`: the one of this Python environment.
            "PATH": f"{Path(sys.executable).parent}{os.pathsep}{os.environ.get('PATH', '')}",
            **self.environment,
        }


def _communicate(process: subprocess.Popen[str], timeout_seconds: float) -> str:
    """Return the standard output; on any exception kill the process group."""
    try:
        return process.communicate(timeout=timeout_seconds)[0]
    except BaseException:
        with contextlib.suppress(ProcessLookupError):
            os.killpg(process.pid, signal.SIGKILL)
        process.wait()
        if process.stdout:
            process.stdout.close()
        raise
