"""Type of command-line options and arguments that name a file, or `-` for a standard stream."""

import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import IO, Any

import click

from app.atomic_files import fsync


class StreamFile(click.File):
    """A binary file, or `-` for standard input or output; a closed one (`<&-`) is wrong usage."""

    def convert(
        self, value: Any, param: click.Parameter | None, ctx: click.Context | None
    ) -> IO[bytes]:
        """Open the file.

        Raises:
            click.BadParameter: it cannot be opened, or the standard stream is closed.
        """
        try:
            file: IO[bytes] = super().convert(value, param, ctx)
        except RuntimeError:  # the only one of click: Python has no object for a closed stream
            self.fail(f"standard {'input' if 'r' in self.mode else 'output'} is closed", param, ctx)
        return file


@contextmanager
def open_output(name: str) -> Iterator[IO[bytes]]:
    """Open a file for writing that replaces the file `name` at the end of the block.

    When the block raises, the file `name` is as it was before. `-` is standard output; that, pipes
    and devices are written to directly.

    Raises:
        click.BadParameter: standard output is closed.
        OSError: the file cannot be written or replaced.
    """
    target = Path(name).resolve()
    if name == "-" or (target.exists() and not target.is_file()):
        yield StreamFile("wb", lazy=False).convert(name, None, click.get_current_context())
        return
    unfinished = target.with_name(f".{target.name}.{os.getpid()}")
    try:
        with unfinished.open("wb") as file:
            yield file
            file.flush()
            os.fsync(file.fileno())
        unfinished.replace(target)
        fsync(target.parent)
    finally:
        unfinished.unlink(missing_ok=True)
