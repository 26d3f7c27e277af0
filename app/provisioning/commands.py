"""`marquee init`."""

from pathlib import Path

import click

from app.settings import Settings

_FOLDER = click.Path(path_type=Path, file_okay=False)


@click.command(epilog="Example (the compose file's): marquee init")
@click.option("--operator", type=_FOLDER, default="/operator", help="The operator's secrets.")
@click.option("--kept", type=_FOLDER, default="/kept", help="Where made secrets stay.")
@click.option("--database", type=_FOLDER, default="/database", help="The database's folder.")
@click.option("--shipper", type=_FOLDER, default="/shipper", help="The shipper's secret.")
@click.option("--owner", type=_FOLDER, default="/owner", help="The secret of the tables' owner.")
@click.option("--alertmanager", type=_FOLDER, default="/alertmanager", help="Alertmanager's.")
@click.option("--scheduler", type=_FOLDER, default="/scheduler", help="The scheduler's secrets.")
@click.option(
    "--template",
    type=click.Path(path_type=Path),
    default="/templates/alertmanager.yml",
    help="Alertmanager's configuration, without channels.",
)
@click.pass_obj
def init(
    settings: Settings,
    operator: Path,
    kept: Path,
    database: Path,
    shipper: Path,
    owner: Path,
    alertmanager: Path,
    scheduler: Path,
    template: Path,
) -> None:
    """Make what the stack needs before it starts; changes nothing that is there already."""
    from app import logs
    from app.provisioning.alerting import provision_alertmanager
    from app.provisioning.database import provision_database
    from app.provisioning.deployment import provision_scheduler
    from app.provisioning.secrets import ProvisioningError

    try:
        provision_database(kept, operator, database, shipper, owner)
        channels = provision_alertmanager(template, alertmanager, operator, settings)
        provision_scheduler(operator, scheduler)
    except (ProvisioningError, OSError) as error:
        raise click.ClickException(str(error)) from error
    logs.get(__name__).info("ready to start", alerts_go_to=channels or "nobody (not configured)")
