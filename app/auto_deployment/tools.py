"""git and dvc, run in one working tree."""

import os
import subprocess
import sys
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path

from app.auto_deployment.errors import DeploymentError

#: A remote that says nothing for so long is away; a pipeline may take as long as it needs.
_GIT_SECONDS = 600
_TAIL = 4000


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
    """

    path: Path
    environment: Mapping[str, str] = field(default_factory=dict)

    def git(self, *arguments: str) -> str:
        """Run git; its output without the last line end.

        Raises:
            ToolError: it failed, or took longer than ten minutes.
        """
        return self._run(["git", *arguments], f"git {arguments[0]}", _GIT_SECONDS).rstrip("\n")

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
        command = [sys.executable, "-m", "dvc", *arguments]
        return self._run(command, f"dvc {arguments[0]}", None)

    def use_remote(self, url: str) -> None:
        """Keep data and models at `url`, in this working tree only; "" leaves what is there."""
        if url:
            name = self.dvc("config", "core.remote").strip()
            self.dvc("remote", "modify", "--local", name, "url", url)

    def _run(self, command: list[str], what: str, seconds: float | None) -> str:
        environment = {
            **os.environ,
            "GIT_TERMINAL_PROMPT": "0",
            "DVC_NO_ANALYTICS": "1",
            "PYTHONDONTWRITEBYTECODE": "1",
            # Stages call `marquee`: the one of this environment.
            "PATH": f"{Path(sys.executable).parent}{os.pathsep}{os.environ.get('PATH', '')}",
            **self.environment,
        }
        try:
            done = subprocess.run(  # noqa: S603 - no shell, our own arguments
                command,
                cwd=self.path,
                env=environment,
                capture_output=True,
                text=True,
                errors="replace",
                timeout=seconds,
                check=False,
            )
        except subprocess.TimeoutExpired as error:
            raise ToolError(what, f"no answer within {seconds} s") from error
        except OSError as error:
            raise ToolError(what, str(error)) from error
        if done.returncode != 0:
            raise ToolError(what, done.stdout + done.stderr)
        return done.stdout
