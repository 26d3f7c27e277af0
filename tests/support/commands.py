"""`marquee`, as a child process or in this one."""

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

from click.testing import CliRunner

from app.cli import marquee as cli

MARQUEE = str(Path(sys.executable).with_name("marquee"))


def marquee(
    *arguments: object, stdin: bytes = b"", **settings: str
) -> subprocess.CompletedProcess[bytes]:
    """Run a command as a child process, with these settings and no others."""
    command = [MARQUEE, *map(str, arguments)]
    return subprocess.run(command, input=stdin, env=settings, capture_output=True, check=False)


def invoke(
    *arguments: object, stdin: bytes = b"", **settings: str
) -> subprocess.CompletedProcess[bytes]:
    """Run a command in this process, which saves the second in which it would start."""
    command = list(map(str, arguments))
    done = CliRunner().invoke(cli, command, input=stdin, env=settings)
    if done.exception is not None and not isinstance(done.exception, SystemExit):
        raise done.exception
    return subprocess.CompletedProcess(
        command, done.exit_code, done.stdout_bytes, done.stderr_bytes
    )


def summary_of(*arguments: object, stdin: bytes = b"", **settings: str) -> dict[str, Any]:
    """Run a command in this process and return its summary."""
    completed = invoke(*arguments, "--json", stdin=stdin, **settings)
    assert completed.returncode == 0, completed.stderr
    summary: dict[str, Any] = json.loads(completed.stdout)
    return summary
