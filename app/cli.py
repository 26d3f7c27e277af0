"""The `marquee` command; each package has its own commands in `commands.py`.

These modules import heavy libraries inside their functions, so that `--help` is fast and also works
where only the service's dependencies are installed.
"""

import importlib
import sys
from typing import Any

import click

from app import logs
from app.settings import SettingsError, read_settings

#: Sections of the help: title -> command -> module with a function of that name (underscores).
SECTIONS = {
    "Collect and prepare data": {
        "collect": "app.ingest.commands",
        "import-ratings": "app.ingest.commands",
        "enrich": "app.ingest.metadata.commands",
        "prepare": "app.ingest.commands",
        "data": "app.ingest.commands",
    },
    "Train models": {
        "train": "app.training.commands",
        "tune": "app.training.commands",
        "evaluate": "app.training.commands",
    },
    "Recommend": {
        "serve": "app.service.commands",
        "recommend": "app.model.commands",
        "verify": "app.model.commands",
    },
    "Provenance of responses": {
        "migrate": "app.provenance.commands",
        "ship": "app.provenance.commands",
        "trace": "app.provenance.commands",
        "backup": "app.provenance.commands",
        "restore-backup": "app.provenance.commands",
    },
    "Retrain and publish versions": {
        "test-data": "app.auto_deployment.commands",
        "retrain": "app.auto_deployment.commands",
        "schedule": "app.auto_deployment.commands",
        "restore": "app.auto_deployment.commands",
        "notify": "app.notifications.commands",
    },
    "Set up containers": {
        "init": "app.provisioning.commands",
    },
    "Simulate users": {
        "simulate": "app.simulator.commands.simulate",
        "metadata-api": "app.simulator.commands.metadata_api",
        "compare-versions": "app.simulator.commands.compare_versions",
        "make-sample": "app.simulator.commands.make_sample",
    },
}
COMMANDS = {name: module for section in SECTIONS.values() for name, module in section.items()}


class LazyGroup(click.Group):
    """A command group that imports the module of a command on demand."""

    def list_commands(self, ctx: click.Context) -> list[str]:
        """All names, in the order of the sections."""
        return list(COMMANDS)

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:
        """Import and return one command."""
        module = COMMANDS.get(cmd_name)
        if module is None:
            return None
        command = getattr(importlib.import_module(module), cmd_name.replace("-", "_"))
        assert isinstance(command, click.Command)  # noqa: S101 - a programming error, not input
        return command

    def format_commands(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        """Write the commands section by section."""
        limit = formatter.width - 6 - max(map(len, COMMANDS))
        for title, section in SECTIONS.items():
            commands = {name: self.get_command(ctx, name) for name in section}
            with formatter.section(title):
                formatter.write_dl(
                    [
                        (name, command.get_short_help_str(limit))
                        for name, command in commands.items()
                        if command
                    ],
                    col_max=max(map(len, COMMANDS)),
                )


@click.command(cls=LazyGroup, context_settings={"help_option_names": ["-h", "--help"]})
@click.version_option(package_name="marquee")
@click.pass_context
def marquee(ctx: click.Context) -> None:
    """Collect watch and rating events, train a recommender, serve and release it.

    Results go to standard output (JSON with --json), logs to standard error. Exit status: 0
    success, 1 failure, 2 wrong usage. Settings are environment variables: docs/settings.md.
    """
    ctx.obj = read_settings()
    logs.set_up(ctx.obj)


def main(arguments: list[str] | None = None) -> Any:
    """Entry point: run the command line; an invalid setting is exit status 2."""
    try:
        return marquee(arguments, prog_name="marquee")
    except SettingsError as error:
        click.echo(f"marquee: {error}", err=True)
        sys.exit(2)
    except ModuleNotFoundError as error:
        if (error.name or "app").split(".")[0] == "app":
            raise
        click.echo(
            f"marquee: {error.name} is not installed; this command needs the dependencies of "
            "training (requirements/training.txt)",
            err=True,
        )
        sys.exit(1)
