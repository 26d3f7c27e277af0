"""`marquee forget`."""

import click

from app.cli_errors import explain_errors
from app.json_output import print_json
from app.settings import Settings

_MAX_USER_ID = 10**18 - 1


@click.command(epilog="Example (the compose file's): docker compose run --rm forget 42")
@click.argument("user", type=click.IntRange(0, _MAX_USER_ID))
@click.option("--json", "as_json", is_flag=True, help="Print JSON.")
@click.pass_obj
def forget(settings: Settings, user: int, as_json: bool) -> None:
    """Remove what is stored of the user with the id USER.

    From the event store (watches, ratings, metadata), from the spool (records that wait for the
    shipper), from the database and its exports (records of recommendations) and from the file of
    recent activity.
    Models know the user until the next version, which is trained without the user. Backups and
    earlier versions are not changed; docs/personal-data.md describes how long they last, and what
    else is stored.

    Stop the collector and the shipper first: no other process may write to the store or read the
    spool. `marquee follow` may be running. The database user must own the tables. Can be repeated.
    Prints how much was removed.
    """
    from app.forget.forget_user import forget_user

    with explain_errors():
        removed = forget_user(settings, user)
    if as_json:
        print_json(removed)
    else:
        for name, count in removed.items():
            click.echo(f"{name.replace('_', ' '):<18}{count}")
