"""What is being done: bars on a terminal, nothing elsewhere; and how long each stage took."""

import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager

from rich.console import Console
from rich.progress import BarColumn, Progress, SpinnerColumn, TextColumn, TimeElapsedColumn

Advance = Callable[[int], None]


class Stages:
    """Times the stages of a job and shows them while it is entered as a context.

    Attributes:
        seconds: seconds that each finished stage took, by name, in order.
    """

    def __init__(self) -> None:
        self.seconds: dict[str, float] = {}
        self._bars = Progress(
            SpinnerColumn(),
            TextColumn("{task.description}"),
            BarColumn(),
            TimeElapsedColumn(),
            console=Console(stderr=True),
            disable=not sys.stderr.isatty(),
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
        begun = time.perf_counter()
        yield lambda steps: self._bars.advance(task, steps)
        self.seconds[name] = round(time.perf_counter() - begun, 3)
        self._bars.update(task, total=total or 1, completed=total or 1)
