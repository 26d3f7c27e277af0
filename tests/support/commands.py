"""`marquee` as a child process, with the settings that a test names and no others."""

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

MARQUEE = str(Path(sys.executable).with_name("marquee"))


def marquee(
    *arguments: object, stdin: bytes = b"", **settings: str
) -> subprocess.CompletedProcess[bytes]:
    command = [MARQUEE, *map(str, arguments)]
    return subprocess.run(command, input=stdin, env=settings, capture_output=True, check=False)


def summary_of(*arguments: object, stdin: bytes = b"", **settings: str) -> dict[str, Any]:
    completed = marquee(*arguments, "--json", stdin=stdin, **settings)
    assert completed.returncode == 0, completed.stderr
    summary: dict[str, Any] = json.loads(completed.stdout)
    return summary
