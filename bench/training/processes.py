"""Run a command and measure the memory of all its processes."""

import re
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from threading import Event, Thread
from typing import NamedTuple

ROOT = Path(__file__).parents[2]
_INTERVAL_SECONDS = 0.2


class Finished(NamedTuple):
    """A command that has ended.

    Attributes:
        output: its standard output.
        peak_mb: highest resident memory of the command and its descendants together in MB, pages of
            mapped files included; those that two processes share are counted twice.
        peak_anonymous_mb: the same without pages of mapped files, which the system can write to
            the disk when memory is short.
    """

    output: str
    peak_mb: int
    peak_anonymous_mb: int


def run_python(*arguments: str) -> Finished:
    """Run a Python module of this repository.

    Raises:
        subprocess.CalledProcessError: the command failed.
    """
    command = [sys.executable, "-m", *arguments]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True, cwd=ROOT) as process:
        sampler = _Sampler(process.pid)
        try:
            output = process.communicate()[0]
        finally:
            sampler.stop()
    if process.returncode:
        raise subprocess.CalledProcessError(process.returncode, command)
    return Finished(output, sampler.peak_kb // 1024, sampler.peak_anonymous_kb // 1024)


class _Sampler:
    """A thread that reads the memory of a process and its descendants at an interval."""

    def __init__(self, process: int) -> None:
        self.peak_kb, self.peak_anonymous_kb = 0, 0
        self._process, self._stopped = process, Event()
        self._thread = Thread(target=self._run, daemon=True)
        self._thread.start()

    def stop(self) -> None:
        """Stop reading."""
        self._stopped.set()
        self._thread.join()

    def _run(self) -> None:
        while not self._stopped.wait(_INTERVAL_SECONDS):
            found = [_read_memory(process) for process in _find_descendants(self._process)]
            self.peak_kb = max(self.peak_kb, sum(resident for resident, _ in found))
            anonymous = sum(anonymous for _, anonymous in found)
            self.peak_anonymous_kb = max(self.peak_anonymous_kb, anonymous)


def _find_descendants(process: int) -> Iterator[int]:
    """Yield a process and its descendants that still run."""
    yield process
    for children in Path(f"/proc/{process}/task").glob("*/children"):
        try:
            found = children.read_text(encoding="ascii").split()
        except OSError:  # the thread has ended
            continue
        for child in found:
            yield from _find_descendants(int(child))


def _read_memory(process: int) -> tuple[int, int]:
    """Return resident memory, and that without mapped files, in kB; zeros when it has ended."""
    try:
        status = Path(f"/proc/{process}/status").read_text(encoding="ascii", errors="replace")
    except OSError:
        return 0, 0
    found = dict(re.findall(r"^(VmRSS|RssAnon):\s+(\d+) kB", status, re.MULTILINE))
    return int(found.get("VmRSS", 0)), int(found.get("RssAnon", 0))
