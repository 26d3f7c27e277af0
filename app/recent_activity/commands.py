"""`marquee follow`."""

from pathlib import Path

import click

from app.cli_errors import explain_errors
from app.durations import Duration
from app.settings import Settings


@click.command(
    epilog="Examples: MARQUEE_KAFKA_SERVERS=kafka:9092 marquee follow;  "
    'echo "$(date -u +%FT%T),42,GET /data/m/toy+story+1995/60.mpg" | marquee follow --file -'
)
@click.option(
    "--file",
    "files",
    multiple=True,
    metavar="LOG",
    help="Log file or pipe, plain or compressed, or - for standard input. Can be given several "
    "times.",
)
@click.option(
    "--for",
    "duration_seconds",
    type=Duration(),
    metavar="15m",
    help="Follow the topic for this long, then exit.",
)
@click.option(
    "--dir",
    "directory",
    type=click.Path(path_type=Path, file_okay=False),
    default=None,
    help="Directory of the recent activity. [default: setting recent_dir]",
)
@click.option("--json", "as_json", is_flag=True, help="Print JSON.")
@click.pass_obj
def follow(
    settings: Settings,
    files: tuple[str, ...],
    duration_seconds: float | None,
    directory: Path | None,
    as_json: bool,
) -> None:
    """Keep each user's last movies in a file that the service reads.

    Follows `kafka_topic` beside the collector, with positions of its own, until SIGTERM or Ctrl-C,
    and serves `/metrics` at `follower_bind`. Without `kafka_servers` it idles. With --file it
    reads log lines instead, those of a pipe as they arrive.

    A new file is filled from the event store (`store_dir`), where there is one. See
    docs/recent-activity.md.
    """
    from app.ingest.commands import print_summary
    from app.shutdown import stop_event

    if directory is not None:
        settings = settings.model_copy(update={"recent_dir": directory})
    if files and duration_seconds is not None:
        raise click.UsageError("--for cannot be used with --file")
    if not files and duration_seconds is not None and not settings.kafka_servers:
        raise click.UsageError("--for needs a broker: MARQUEE_KAFKA_SERVERS is not set")
    with explain_errors():
        if files:
            from app.recent_activity.file_follower import follow_files

            summary = follow_files(list(files), settings, stop_event())
        else:
            from app.recent_activity.follower import run_follower

            summary = run_follower(settings, duration_seconds)
    if summary or as_json:
        print_summary(summary or {"status": "disabled"}, as_json)
