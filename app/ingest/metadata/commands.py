"""`marquee enrich`."""

from pathlib import Path

import click

from app.cli_errors import explain_errors
from app.ingest.commands import JSON_OPTION, STORE_OPTION, print_summary
from app.settings import Settings


@click.command(
    epilog="Example: MARQUEE_METADATA_API_URL=http://api:8080 marquee enrich --json;"
    "  marquee train --users data/store/attributes/users.parquet ..."
)
@STORE_OPTION
@JSON_OPTION
@click.pass_obj
def enrich(settings: Settings, store: Path | None, as_json: bool) -> None:
    """Ask the information API for the store's users and movies that are not known yet.

    Writes attributes/users.parquet and movies.parquet beside the store's files; interrupted, the
    next run goes on there. The movies asked for most come first. `collect`, where it follows the
    stream, does this every hour. Without `metadata_api_url` it does nothing, and says so.
    """
    from threading import Event

    from app import logs
    from app.ingest.metadata.enrich import enrich as run

    if not settings.metadata_api_url:
        logs.get(__name__).info("no information API is configured (MARQUEE_METADATA_API_URL)")
        return
    with explain_errors():
        told = run(settings.model_copy(update={"store_dir": store or settings.store_dir}), Event())
    print_summary(told, as_json)
