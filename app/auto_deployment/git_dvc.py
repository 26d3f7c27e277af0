"""git and dvc, run in one working tree."""

import contextlib
import os
import signal
import subprocess
import sys
import tempfile
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path

from app.auto_deployment.errors import DeploymentError

#: A remote that says nothing for so long is away; a pipeline may take as long as it needs.
_GIT_SECONDS = 600
_TAIL = 4000
#: The name of DVC's remote in `.dvc/config`.
_REMOTE = "storage"


class ToolError(DeploymentError):
    """A command that failed; `output` is the end of what it wrote."""

    def __init__(self, what: str, output: str) -> None:
        super().__init__(f"{what}: {_reason(output)}")
        self.output = output[-_TAIL:]


def _reason(output: str) -> str:
    """The line that says why: the one that is marked as an error, or else the last."""
    lines = [line.strip() for line in output.splitlines() if line.strip()]
    marked = [line for line in lines if line.lower().startswith(("error:", "fatal:"))]
    return (marked or lines or ["no reason given"])[-1][:400]


@dataclass(frozen=True)
class Tree:
    """A working tree of git and DVC.

    Attributes:
        path: its root.
        environment: added to the environment of both tools.
        log: what DVC and its stages say is appended here as they say it, if anywhere.
        inherited: open files that they hold, too: a lock that ends when the last of them does.
    """

    path: Path
    environment: Mapping[str, str] = field(default_factory=dict)
    log: Path | None = None
    inherited: tuple[int, ...] = ()

    def git(self, *arguments: str) -> str:
        """Run git; its output without the last line end.

        Raises:
            ToolError: it failed, or took longer than ten minutes.
        """
        # Tidying in the background would be left to whoever is process 1, which reaps no strangers.
        command = ["git", "-c", "gc.autoDetach=false", *arguments]
        return self._run(command, f"git {arguments[0]}", _GIT_SECONDS).rstrip("\n")

    def git_tells(self, *arguments: str) -> bool:
        """Whether git's exit status is 0, for commands that answer a question by it."""
        try:
            self.git(*arguments)
        except ToolError:
            return False
        return True

    def dvc(self, *arguments: str) -> str:
        """Run DVC, the one installed beside this program.

        Raises:
            ToolError: it failed.
        """
        return self._run([sys.executable, "-m", "dvc", *arguments], f"dvc {arguments[0]}", None)

    def marquee(self, *arguments: str) -> str:
        """Run a command of the code in this working tree.

        Raises:
            ToolError: it failed.
        """
        return self._run([sys.executable, "-m", "app", *arguments], arguments[0], None)

    def use_remote(self, url: str) -> None:
        """Keep data and models at `url`, in this working tree only; "" leaves what is there."""
        local = self.path / ".dvc" / "config.local"
        if url and not (local.exists() and f"url = {url}\n" in local.read_text(encoding="utf-8")):
            self.dvc("remote", "modify", "--local", _REMOTE, "url", url)

    def _run(self, command: list[str], what: str, seconds: float | None) -> str:
        """Standard output; errors go to the log as they come, where there is one."""
        with tempfile.TemporaryFile() if self.log is None else self.log.open("ab+") as errors:
            begin = errors.seek(0, os.SEEK_END)
            try:
                process = subprocess.Popen(  # noqa: S603 - no shell, our own arguments
                    command,
                    cwd=self.path,
                    env=self._environment(),
                    stdin=subprocess.DEVNULL,
                    stdout=subprocess.PIPE,
                    stderr=errors,
                    text=True,
                    errors="replace",
                    process_group=0,
                    pass_fds=self.inherited,
                )
                output = _wait(process, seconds)
            except subprocess.TimeoutExpired as error:
                raise ToolError(what, f"no answer within {seconds} s") from error
            except OSError as error:
                raise ToolError(what, str(error)) from error
            if command[0] != "git" or process.returncode != 0:
                errors.write(output.encode())
            if process.returncode != 0:
                errors.seek(begin)
                raise ToolError(what, errors.read().decode(errors="replace"))
        return output

    def _environment(self) -> dict[str, str]:
        return {
            **os.environ,
            "GIT_TERMINAL_PROMPT": "0",
            "DVC_NO_ANALYTICS": "1",
            "PYTHONDONTWRITEBYTECODE": "1",
            # Stages call `marquee`: the one of this environment.
            "PATH": f"{Path(sys.executable).parent}{os.pathsep}{os.environ.get('PATH', '')}",
            **self.environment,
        }


def _wait(process: subprocess.Popen[str], seconds: float | None) -> str:
    """What a process writes until it ends; it and all it started end with this one's patience."""
    try:
        return process.communicate(timeout=seconds)[0]
    except BaseException:
        with contextlib.suppress(ProcessLookupError):
            os.killpg(process.pid, signal.SIGKILL)
        process.wait()
        raise
