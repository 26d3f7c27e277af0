"""Expected errors of a command as one sentence on standard error and exit status 1."""

from collections.abc import Iterator
from contextlib import contextmanager

import click


class MarqueeError(Exception):
    """Base of the errors whose message is written for the user of a command."""


@contextmanager
def explain_errors() -> Iterator[None]:
    """Report what a user can act on (input, files, the disk, a server) without a traceback.

    Raises:
        click.ClickException: for a `MarqueeError` or an `OSError`; the message names the file.
    """
    try:
        yield
    except MarqueeError as error:
        raise click.ClickException(str(error)) from error
    except OSError as error:
        raise click.ClickException(describe_os_error(error)) from error


def describe_os_error(error: OSError) -> str:
    """The file, where there is one, and the reason."""
    path = f"{error.filename}: " if error.filename else ""
    return f"{path}{error.strerror or error}"
