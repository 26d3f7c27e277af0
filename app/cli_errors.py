"""Report expected errors of a command in one line on standard error with exit status 1."""

from collections.abc import Iterator
from contextlib import contextmanager

import click

from app.terminal_text import escape_control_characters


class MarqueeError(Exception):
    """Base class of errors whose message is meant for the user of a command."""


@contextmanager
def explain_errors() -> Iterator[None]:
    """Convert expected errors (input, files, disk, servers) to an error message of click.

    Raises:
        click.ClickException: for a `MarqueeError` or an `OSError`; the message names the file.
    """
    try:
        yield
    except MarqueeError as error:
        raise click.ClickException(escape_control_characters(str(error))) from error
    except OSError as error:
        message = escape_control_characters(describe_os_error(error))
        raise click.ClickException(message) from error


def describe_os_error(error: OSError) -> str:
    """Return the file, if there is one, and the reason."""
    path = f"{error.filename}: " if error.filename else ""
    return f"{path}{error.strerror or error}"
