"""The options `--engine` and `--master` of `marquee prepare` and `marquee train`."""

from collections.abc import Callable
from typing import Any, TypeVar

import click

from app.settings import Settings

_Command = TypeVar("_Command", bound=Callable[..., Any])
ENGINES = ("local", "spark")


def engine_options(command: _Command) -> _Command:
    """Add the options to a command."""
    master = click.option(
        "--master",
        metavar="URL",
        default=None,
        help="Spark cluster, such as spark://host:7077. [default: setting spark_master]",
    )
    engine = click.option(
        "--engine",
        type=click.Choice(ENGINES),
        default=None,
        help="This machine or a Spark cluster (docs/scaling.md). [default: setting engine]",
    )
    return engine(master(command))


def find_master(settings: Settings, engine: str | None, master: str | None) -> str | None:
    """Return the URL of the Spark cluster to be used; None: this machine does the work.

    Raises:
        click.UsageError: the options do not fit together.
    """
    if (engine or settings.engine) == "local":
        if master is not None:
            raise click.UsageError("--master is for --engine spark")
        return None
    url = master or settings.spark_master
    if not url:
        raise click.UsageError("--engine spark needs --master URL, or the setting spark_master")
    return url
