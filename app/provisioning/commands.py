"""`marquee init`."""

from pathlib import Path

import click

from app.cli_errors import explain_errors
from app.settings import Settings

_DIRECTORY = click.Path(path_type=Path, file_okay=False)


@click.command(epilog="Example (the compose file's): marquee init")
@click.option("--operator", type=_DIRECTORY, default="/operator", help="The operator's secrets.")
@click.option("--generated", type=_DIRECTORY, default="/generated", help="Generated secrets.")
@click.option("--database", type=_DIRECTORY, default="/database", help="The server's init.sql.")
@click.option("--shipper", type=_DIRECTORY, default="/shipper", help="The shipper's secret.")
@click.option("--owner", type=_DIRECTORY, default="/owner", help="The table owner's secret.")
@click.option("--console", type=_DIRECTORY, default="/console", help="The console's secret.")
@click.option("--orders", type=_DIRECTORY, default="/orders", help="The console's orders.")
@click.option(
    "--alertmanager", type=_DIRECTORY, default="/alertmanager", help="Alertmanager's configuration."
)
@click.option("--scheduler", type=_DIRECTORY, default="/scheduler", help="The scheduler's secrets.")
@click.option("--collector", type=_DIRECTORY, default="/collector", help="The collector's secrets.")
@click.option(
    "--template",
    type=click.Path(path_type=Path),
    default="/templates/alertmanager.yml",
    help="Alertmanager's configuration without channels.",
)
@click.pass_obj
def init(
    settings: Settings,
    operator: Path,
    generated: Path,
    database: Path,
    shipper: Path,
    owner: Path,
    console: Path,
    orders: Path,
    alertmanager: Path,
    scheduler: Path,
    collector: Path,
    template: Path,
) -> None:
    """Create the secrets and configuration files that the stack needs to start.

    Each option is a directory to read (--operator) or to write. Passwords that the operator does
    not set are generated once and then stay the same.
    """
    from app import logs
    from app.provisioning.alertmanager import provision_alertmanager
    from app.provisioning.database import provision_database
    from app.provisioning.secrets import (
        provision_collector,
        provision_console,
        provision_scheduler,
    )

    with explain_errors():
        provision_database(generated, operator, database, shipper, owner, console)
        channels = provision_alertmanager(template, alertmanager, operator, settings)
        provision_scheduler(operator, scheduler)
        provision_collector(operator, collector)
        provision_console(operator, console, orders)
    logs.get(__name__).info("provisioned", alert_channels=channels or "none configured")
