"""A progress bar on standard error, where a person looks at it."""

import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager

from rich.console import Console
from rich.progress import BarColumn, DownloadColumn, Progress, TextColumn, TimeRemainingColumn

from app.ingest.line_reader import Source


@contextmanager
def progress_over(sources: list[Source], label: str) -> Iterator[Callable[[], None]]:
    """Show how much of the sources is read; call what it yields to move on."""
    sizes = [source.size for source in sources]
    known = [size for size in sizes if size is not None]
    columns = (
        TextColumn("{task.description}"),
        BarColumn(),
        DownloadColumn(),
        TimeRemainingColumn(),
    )
    bar = Progress(*columns, console=Console(stderr=True), disable=not sys.stderr.isatty())
    with bar:
        task = bar.add_task(label, total=sum(known) if len(known) == len(sizes) else None)
        yield lambda: bar.update(task, completed=sum(source.position for source in sources))
