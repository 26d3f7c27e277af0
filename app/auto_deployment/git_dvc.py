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

#: Limit for one git command. DVC has none: a stage may train for hours.
_GIT_TIMEOUT_SECONDS = 600
#: The name of the DVC remote in `.dvc/config`.
_DVC_REMOTE_NAME = "storage"


@dataclass(frozen=True)
class WorkingTree:
    """A git working tree with a DVC repository.

    Attributes:
        path: its root directory.
        environment: variables added to the environment of the commands.
        log_file: file that the commands' output is appended to; None: output is only in errors.
        pass_fds: descriptors that the commands inherit. A lock on one of them is held until the
            last command ends, also when this process is killed.
    """

    path: Path
    environment: Mapping[str, str] = field(default_factory=dict)
    log_file: Path | None = None
    pass_fds: tuple[int, ...] = ()

    def git(self, *arguments: str) -> str:
        """Run git and return its standard output without the last line end.

        Raises:
            ToolError: it failed, or took longer than ten minutes.
        """
        # No background gc: PID 1 in the container does not reap orphans.
        command = ["git", "-c", "gc.autoDetach=false", *arguments]
        return self._run(command, f"git {arguments[0]}", _GIT_TIMEOUT_SECONDS).rstrip("\n")

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
            ToolError: it failed.
        """
        return self._run([sys.executable, "-m", "dvc", *arguments], f"dvc {arguments[0]}", None)

    def marquee(self, *arguments: str) -> str:
        """Run a `marquee` command with the code that `PYTHONPATH` of `environment` names.

        Raises:
            ToolError: it failed.
        """
        return self._run([sys.executable, "-m", "app", *arguments], arguments[0], None)

    def set_dvc_remote(self, url: str) -> None:
        """Use the DVC remote at `url` in this working tree; an empty `url` changes nothing."""
        local = self.path / ".dvc" / "config.local"
        if url and not (local.exists() and f"url = {url}\n" in local.read_text(encoding="utf-8")):
            self.dvc("remote", "modify", "--local", _DVC_REMOTE_NAME, "url", url)

    def _run(self, command: list[str], name: str, timeout_seconds: float | None) -> str:
        """Return standard output; standard error goes to the log file while the command runs."""
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
                raise ToolError(name, f"no answer within {timeout_seconds} s") from error
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


def _communicate(process: subprocess.Popen[str], timeout_seconds: float | None) -> str:
    """Return the standard output; on any exception kill the process group."""
    try:
        return process.communicate(timeout=timeout_seconds)[0]
    except BaseException:
        with contextlib.suppress(ProcessLookupError):
            os.killpg(process.pid, signal.SIGKILL)
        process.wait()
        raise
