"""The `marquee` command. Each room brings its own commands.

A room's `commands.py` imports heavy libraries inside its functions, so that `--help` is quick and
works where only the service's dependencies are installed.
"""

import importlib
import sys
from typing import Any

import click

from app import logs
from app.settings import SettingsError, read_settings

#: Command -> the module that holds it, under the same name with underscores.
COMMANDS = {
    "collect": "app.ingest.commands",
    "import-ratings": "app.ingest.commands",
    "prepare": "app.ingest.commands",
    "enrich": "app.ingest.metadata.commands",
    "data": "app.ingest.commands",
    "train": "app.training.commands",
    "tune": "app.training.commands",
    "evaluate": "app.training.commands",
    "recommend": "app.model.commands",
    "verify": "app.model.commands",
    "serve": "app.service.commands",
    "migrate": "app.provenance.commands",
    "ship": "app.provenance.commands",
    "trace": "app.provenance.commands",
    "backup": "app.provenance.commands",
    "restore-backup": "app.provenance.commands",
    "test-data": "app.auto_deployment.commands",
    "retrain": "app.auto_deployment.commands",
    "schedule": "app.auto_deployment.commands",
    "notify": "app.notifications.commands",
    "restore": "app.auto_deployment.commands",
    "init": "app.provisioning.commands",
    "simulate": "app.simulator.commands",
    "information-api": "app.simulator.commands",
    "compare-versions": "app.simulator.commands",
    "make-sample": "app.simulator.commands",
}


class LazyGroup(click.Group):
    """A command group that imports a command's module when it is asked for."""

    def list_commands(self, ctx: click.Context) -> list[str]:
        """All names, in the order a user meets them."""
        return list(COMMANDS)

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:
        """Import and return one command."""
        module = COMMANDS.get(cmd_name)
        if module is None:
            return None
        found = getattr(importlib.import_module(module), cmd_name.replace("-", "_"))
        assert isinstance(found, click.Command)  # noqa: S101 - a programming error, not input
        return found


@click.command(cls=LazyGroup, context_settings={"help_option_names": ["-h", "--help"]})
@click.version_option(package_name="marquee")
@click.pass_context
def marquee(ctx: click.Context) -> None:
    """Collect what people watch and rate, train a recommender, serve it.

    Results go to standard output (JSON with --json), logs to standard error. Exit status: 0 done,
    1 failed, 2 wrong usage. Settings come from the environment: docs/settings.md.
    """
    ctx.obj = read_settings()
    logs.set_up(ctx.obj)


def main(arguments: list[str] | None = None) -> Any:
    """Entry point: run the command line and turn a bad setting into exit status 2."""
    try:
        return marquee(arguments, prog_name="marquee")
    except SettingsError as error:
        click.echo(f"marquee: {error}", err=True)
        sys.exit(2)
    except ModuleNotFoundError as error:
        if (error.name or "app").split(".")[0] == "app":
            raise
        click.echo(
            f"marquee: {error.name} is not installed here; this command belongs to the training "
            "side (requirements/training.txt)",
            err=True,
        )
        sys.exit(1)
