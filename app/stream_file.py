"""Type of command-line options and arguments that name a file, or `-` for a standard stream."""

from typing import IO, Any

import click


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
