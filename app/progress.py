"""Progress bars on standard error, hidden where it is not a terminal."""

import sys

from rich.console import Console
from rich.progress import Progress, ProgressColumn


def progress_bar(*columns: ProgressColumn) -> Progress:
    """Create a bar with these columns; it is shown while it is entered as a context."""
    return Progress(*columns, console=Console(stderr=True), disable=not sys.stderr.isatty())
