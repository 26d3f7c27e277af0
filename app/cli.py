"""The `marquee` command; each package has its own commands in `commands.py`.

These modules import heavy libraries inside their functions, so that `--help` is fast and also works
where only the service's dependencies are installed. Commands whose packages an image lacks are
listed, and say what they need when they are run.
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
        "follow": "app.recent_activity.commands",
        "import-ratings": "app.ingest.commands",
        "enrich": "app.ingest.metadata.commands",
        "prepare": "app.ingest.commands",
        "data": "app.ingest.commands",
    },
    "Train models": {
        "train": "app.training.commands",
        "tune": "app.training.commands",
        "evaluate": "app.training.commands",
        "fairness": "app.fairness.commands",
        "explain-ranking": "app.fairness.commands",
    },
    "Recommend": {
        "serve": "app.service.commands",
        "recommend": "app.recommend.commands",
        "verify": "app.model.commands",
    },
    "Provenance of responses": {
        "migrate": "app.provenance.commands",
        "ship": "app.provenance.commands",
        "requeue": "app.provenance.commands",
        "trace": "app.provenance.commands",
        "audit": "app.provenance.commands",
        "backup": "app.provenance.commands",
        "restore-backup": "app.provenance.commands",
    },
    "Measure what versions are worth": {
        "quality": "app.quality.commands",
        "export": "app.telemetry.commands",
        "query": "app.telemetry.commands",
    },
    "Remove a user": {
        "forget": "app.forget.commands",
    },
    "Retrain and publish versions": {
        "test-data": "app.auto_deployment.commands",
        "retrain": "app.auto_deployment.commands",
        "schedule": "app.auto_deployment.commands",
        "restore": "app.auto_deployment.commands",
        "report": "app.auto_deployment.commands",
        "notify": "app.notifications.commands",
    },
    "Release versions": {
        "analyze": "app.canary_analysis.commands",
    },
    "Watch the system": {
        "console": "app.console.commands",
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
#: What each package's commands need: image, file in `requirements/`.
_NEEDS = {
    "app.service": ("service", "service"),
    "app.model": ("service", "service"),
    # With --recent it needs more than the service's packages.
    "app.recommend": ("deployment", "deployment"),
    "app.provisioning": ("service", "service"),
    "app.provenance": ("provenance", "provenance"),
    "app.console": ("provenance", "provenance"),
    "app.training": ("deployment", "training"),
    "app.fairness": ("deployment", "training"),
    "app.ingest": ("deployment", "deployment"),
    "app.recent_activity": ("deployment", "deployment"),
    "app.auto_deployment": ("deployment", "deployment"),
    "app.quality": ("deployment", "deployment"),
    "app.telemetry": ("deployment", "deployment"),
    "app.forget": ("deployment", "deployment"),
    "app.notifications": ("deployment", "deployment"),
    "app.canary_analysis": ("deployment", "training"),
    "app.simulator": ("deployment", "deployment"),
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
        try:
            command = getattr(importlib.import_module(module), cmd_name.replace("-", "_"))
        except ModuleNotFoundError as error:
            return _MissingCommand(cmd_name, str(error.name))
        assert isinstance(command, click.Command)  # noqa: S101 - a programming error, not input
        return command

    def invoke(self, ctx: click.Context) -> Any:
        """Run a command; a package that is not installed is an error in one sentence."""
        try:
            return super().invoke(ctx)
        except ModuleNotFoundError as error:
            message = _describe_missing(str(ctx.invoked_subcommand), str(error.name))
            raise click.ClickException(message) from error

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


class _MissingCommand(click.Command):
    """Stands for a command whose modules are not installed; ends with exit status 1."""

    def __init__(self, name: str, missing: str) -> None:
        super().__init__(name, short_help=f"(not here: {missing} is not installed)")
        self._missing = missing

    def make_context(self, *_args: Any, **_extra: Any) -> click.Context:
        """Say what is missing, whatever the arguments are."""
        raise ModuleNotFoundError(name=self._missing)


def _describe_missing(command: str, module: str) -> str:
    """Say which module a command lacks, and where it can be run."""
    package = ".".join(COMMANDS[command].split(".")[:2])
    image, requirements = _NEEDS[package]
    return (
        f"{module} is not installed, and `{command}` needs it: run the command in the image "
        f"`{image}`, or install requirements/{requirements}.txt"
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
    logs.capture_warnings_and_exceptions()
    try:
        return marquee(arguments, prog_name="marquee")
    except SettingsError as error:
        click.echo(f"marquee: {error}", err=True)
        sys.exit(2)
