"""Stages of a job: progress bars on a terminal, and the cost of each stage in time and memory."""

import contextlib
import re
import resource
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

from rich.progress import (
    BarColumn,
    SpinnerColumn,
    TaskID,
    TaskProgressColumn,
    TextColumn,
    TimeElapsedColumn,
    TimeRemainingColumn,
)

from app.progress import progress_bar

Advance = Callable[[int], None]


class Stages:
    """Measures the stages of a job, and shows them while it is entered as a context.

    Attributes:
        seconds: duration of each finished stage in seconds, by name, in order.
        cpu_seconds: processor time of each finished stage on all cores, in this process and in
            those that ended during the stage.
        peak_mb: highest resident memory during each stage in MB, pages of mapped files included;
            empty where the system does not report it.
    """

    def __init__(self) -> None:
        self.seconds: dict[str, float] = {}
        self.cpu_seconds: dict[str, float] = {}
        self.peak_mb: dict[str, int] = {}
        self._task: TaskID | None = None
        self._bars = progress_bar(
            SpinnerColumn(),
            TextColumn("{task.description}"),
            BarColumn(),
            TaskProgressColumn(),
            TimeElapsedColumn(),
            TextColumn("remaining"),
            TimeRemainingColumn(),
        )

    def __enter__(self) -> "Stages":
        self._bars.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._bars.stop()

    @contextmanager
    def stage(self, name: str, total: int | None = None) -> Iterator[Advance]:
        """Run one stage; yield a function that advances its bar.

        Args:
            name: name of the stage.
            total: number of steps; None when it is not known.
        """
        task = self._task = self._bars.add_task(name, total=total)
        _reset_peak()
        start, cpu_start = time.perf_counter(), _read_cpu_seconds()
        yield lambda steps: self._bars.advance(task, steps)
        self.seconds[name] = round(time.perf_counter() - start, 3)
        self.cpu_seconds[name] = round(_read_cpu_seconds() - cpu_start, 3)
        if (peak := _read_peak_mb()) is not None:
            self.peak_mb[name] = peak
        done = self._bars.tasks[task].total or 1
        self._bars.update(task, total=done, completed=done)

    def set_total(self, total: int) -> Advance:
        """Set the number of steps of the present stage; return the function that advances it."""
        task = self._task
        assert task is not None  # noqa: S101 - a stage runs
        self._bars.update(task, total=total)
        return lambda steps: self._bars.advance(task, steps)

    def set_progress(self, done: int, total: int) -> None:
        """Set the number of finished steps of the present stage, and of all known so far."""
        assert self._task is not None  # noqa: S101 - a stage runs
        self._bars.update(self._task, completed=done, total=max(total, 1))


def _read_cpu_seconds() -> float:
    """Return the processor time of this process and of its children that have ended."""
    usages = map(resource.getrusage, (resource.RUSAGE_SELF, resource.RUSAGE_CHILDREN))
    return sum(usage.ru_utime + usage.ru_stime for usage in usages)


def _reset_peak() -> None:
    """Make the kernel count the highest resident memory from here on (Linux)."""
    with contextlib.suppress(OSError):
        Path("/proc/self/clear_refs").write_text("5", encoding="ascii")


def _read_peak_mb() -> int | None:
    try:
        status = Path("/proc/self/status").read_text(encoding="ascii", errors="replace")
    except OSError:
        return None
    found = re.search(r"^VmHWM:\s+(\d+) kB", status, re.MULTILINE)
    return round(int(found[1]) / 1024) if found else None
