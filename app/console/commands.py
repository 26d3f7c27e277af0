"""`marquee console`."""

import click

from app.cli_errors import explain_errors
from app.settings import Settings


@click.command(
    epilog="Example: MARQUEE_PROMETHEUS_URL=http://127.0.0.1:9090 MARQUEE_RELEASE_DIR=data/release "
    "marquee console"
)
@click.pass_obj
def console(settings: Settings) -> None:
    """Serve the pages for operators until SIGTERM or Ctrl-C.

    They show whether all is well, the release, slots, versions, retraining, ingest, alerts and
    storage, and find what was recommended to a user, by a request, or of a movie. They read
    Prometheus, the database, the scheduler and the release's files. What cannot be reached is named
    with the time since when; the rest is shown. No login: listen on loopback. With
    MARQUEE_CONSOLE_TOKEN, who has the token can also act: docs/console.md.

    Exit status 1: the address is in use.
    """
    from app.console.server import run_console

    with explain_errors():
        run_console(settings)
