"""What is being done: bars on a terminal, nothing elsewhere; and what each stage took."""

import contextlib
import re
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

from rich.progress import BarColumn, SpinnerColumn, TextColumn, TimeElapsedColumn

from app.progress import progress_bar

Advance = Callable[[int], None]


class Stages:
    """Times the stages of a job and shows them while it is entered as a context.

    Attributes:
        seconds: seconds that each finished stage took, by name, in order.
        peak_mb: the most memory that was resident during each, pages of mapped files included;
            empty where the system does not tell.
    """

    def __init__(self) -> None:
        self.seconds: dict[str, float] = {}
        self.peak_mb: dict[str, int] = {}
        self._bars = progress_bar(
            SpinnerColumn(), TextColumn("{task.description}"), BarColumn(), TimeElapsedColumn()
        )

    def __enter__(self) -> "Stages":
        self._bars.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._bars.stop()

    @contextmanager
    def stage(self, name: str, total: int | None = None) -> Iterator[Advance]:
        """Run one stage; `total` is how far its `advance` counts, None when nobody knows."""
        task = self._bars.add_task(name, total=total)
        _forget_peak()
        begun = time.perf_counter()
        yield lambda steps: self._bars.advance(task, steps)
        self.seconds[name] = round(time.perf_counter() - begun, 3)
        if (peak := _peak_mb()) is not None:
            self.peak_mb[name] = peak
        self._bars.update(task, total=total or 1, completed=total or 1)


def _forget_peak() -> None:
    """Make the kernel count the highest resident memory from here on (Linux)."""
    with contextlib.suppress(OSError):
        Path("/proc/self/clear_refs").write_text("5", encoding="ascii")


def _peak_mb() -> int | None:
    try:
        status = Path("/proc/self/status").read_text(encoding="ascii", errors="replace")
    except OSError:
        return None
    found = re.search(r"^VmHWM:\s+(\d+) kB", status, re.MULTILINE)
    return round(int(found[1]) / 1024) if found else None
