"""`marquee enrich`."""

from pathlib import Path

import click

from app.cli_errors import explain_errors
from app.ingest.commands import JSON_OPTION, STORE_OPTION, print_summary
from app.settings import Settings


@click.command(
    epilog="Example: MARQUEE_METADATA_API_URL=http://api:8080 marquee enrich --json;"
    "  marquee train --users data/store/metadata/users.parquet ..."
)
@STORE_OPTION
@JSON_OPTION
@click.pass_obj
def enrich(settings: Settings, store: Path | None, as_json: bool) -> None:
    """Fetch missing metadata of the store's users and movies from the metadata API.

    Writes metadata/users.parquet and metadata/movies.parquet in the store, movies with the most
    users first. An interrupted run is continued by the next one. `marquee collect` does this every
    hour while it consumes a topic. Without `metadata_api_url` it does nothing.
    """
    from threading import Event

    from app import logs
    from app.ingest.metadata.enrich import enrich as run_enrich

    if not settings.metadata_api_url:
        logs.get(__name__).info("no metadata: MARQUEE_METADATA_API_URL is not set")
        if as_json:
            print_summary({"status": "disabled"}, as_json)
        return
    with explain_errors():
        store_dir = store or settings.store_dir
        summary = run_enrich(settings.model_copy(update={"store_dir": store_dir}), Event())
    print_summary(summary, as_json)
