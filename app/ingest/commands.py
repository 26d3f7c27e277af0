"""`marquee collect`, `import-ratings`, `prepare` and `data`."""

import json
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import click

from app.durations import Duration
from app.ingest.errors import EventsError
from app.settings import Settings

STORE = click.option(
    "--store",
    type=click.Path(path_type=Path, file_okay=False),
    default=None,
    help="Store directory. [default: setting store_dir]",
)
AS_JSON = click.option("--json", "as_json", is_flag=True, help="Print JSON.")


@click.command(
    epilog="Examples: marquee collect --file stream.log;"
    "  zstdcat old.zst | marquee collect --file - --json;"
    "  MARQUEE_KAFKA_SERVERS=kafka:9092 marquee collect --for 15m"
)
@click.option(
    "--file",
    "files",
    multiple=True,
    metavar="LOG",
    help="A log file, .gz too, or - for standard input. May be given several times.",
)
@click.option(
    "--for", "seconds", type=Duration(), metavar="15m", help="Follow the stream so long, then end."
)
@STORE
@AS_JSON
@click.pass_obj
def collect(
    settings: Settings,
    files: tuple[str, ...],
    seconds: float | None,
    store: Path | None,
    as_json: bool,
) -> None:
    """Take the lines of the Kafka stream, or of log files, into the store; say what they were.

    Without --file it follows `kafka_topic` until SIGTERM or Ctrl-C, waits for a broker that is
    away, and answers `/metrics` at `collector_bind`; without a broker in the settings it idles.

    A file may be taken again: what the store holds already changes nothing. `damaged` lines are
    counted by reason; `repaired` ones have a movie id that is put right whenever the store is
    read, whether it was refused (reason `movie`) or looked like one. See docs/events.md.
    """
    from app.ingest.allocators import give_back_soon

    give_back_soon()

    from app.ingest.ingest import collect_files
    from app.ingest.log_parser import Scale

    place = store or settings.store_dir
    if not files:
        _follow(settings.model_copy(update={"store_dir": place}), seconds, as_json)
        return
    if seconds is not None:
        raise click.UsageError("--for follows the stream; it does not go with --file")
    scale = Scale(settings.rating_min, settings.rating_max)
    with told_plainly():
        summary = collect_files(list(files), place, scale)
    print_summary(summary, as_json)


def _follow(settings: Settings, seconds: float | None, as_json: bool) -> None:
    from app.ingest.kafka.service import follow

    if seconds is not None and not settings.kafka_servers:
        raise click.UsageError("there is no stream to follow: MARQUEE_KAFKA_SERVERS is not set")
    with told_plainly():
        summary = follow(settings, seconds)
    if summary:
        print_summary(summary, as_json)


@click.command(
    epilog="Examples: marquee import-ratings ratings.csv --json;"
    "  MARQUEE_RATING_MIN=0.5 marquee import-ratings ml-latest-small/ratings.csv"
)
@click.argument("tables", metavar="CSV...", nargs=-1, required=True)
@STORE
@AS_JSON
@click.pass_obj
def import_ratings(
    settings: Settings, tables: tuple[str, ...], store: Path | None, as_json: bool
) -> None:
    """Take tables of ratings into the store: rows taken, repaired and refused by reason.

    A table has a header that names user, movie, rating and maybe time; or no header and rows of
    three columns (user, movie, rating) or four (time first), mixed as they like. Times are ISO or
    seconds since 1970; a row without one is older than any with one. UTF-8 or Latin-1, .gz too.
    """
    from app.ingest.ingest import import_tables
    from app.ingest.log_parser import Scale

    scale = Scale(settings.rating_min, settings.rating_max)
    with told_plainly():
        summary = import_tables(list(tables), store or settings.store_dir, scale)
    print_summary(summary, as_json)


@click.command(epilog="Example: marquee prepare --out data/prepared --test-share 0.2")
@STORE
@click.option(
    "--out",
    type=click.Path(path_type=Path, file_okay=False),
    required=True,
    help="Directory to write; what it was before is replaced in one step.",
)
@click.option(
    "--test-share",
    type=click.FloatRange(0, 1, min_open=True, max_open=True),
    default=None,
    help="Also write train/ and test/, split at the moment after which this share of ratings came.",
)
@click.option(
    "--window",
    "window_file",
    type=click.Path(path_type=Path),
    default=None,
    help="data/window.json: which events are the test side and which are excluded; in place of "
    "--test-share.",
)
@AS_JSON
@click.pass_obj
def prepare(
    settings: Settings,
    store: Path | None,
    out: Path,
    test_share: float | None,
    window_file: Path | None,
    as_json: bool,
) -> None:
    """Write the store as the tables training reads: ratings.parquet and watches.parquet.

    Damaged movie ids are repaired, hopeless ones left out and counted. The same store gives the
    same bytes.
    """
    from app.ingest.data_window import read_window
    from app.ingest.prepare import prepare_tables

    if window_file is not None and test_share is not None:
        raise click.UsageError("give --window or --test-share, not both")
    with told_plainly():
        window = None if window_file is None else read_window(window_file)
        summary = prepare_tables(store or settings.store_dir, out, test_share, window)
    print_summary(summary, as_json)


@click.group()
def data() -> None:
    """Look at what was collected."""


@data.command(epilog="Example: marquee data stats --json")
@STORE
@AS_JSON
@click.pass_obj
def stats(settings: Settings, store: Path | None, as_json: bool) -> None:
    """Say what is in the store: pairs, ratings, users, movies, repairs, files, positions.

    `newest` is when its newest events came; `hopeless_ids` are movie ids that cannot be repaired,
    and are left out of the tables; `positions` are how far each partition was read.
    """
    from app.ingest.stats import describe_store

    with told_plainly():
        found = describe_store(store or settings.store_dir)
    print_summary(found, as_json)


@contextmanager
def told_plainly() -> Iterator[None]:
    """End a command with a sentence where the input, the store or the disk is at fault."""
    try:
        yield
    except EventsError as error:
        raise click.ClickException(str(error)) from error
    except OSError as error:
        where = f"{error.filename}: " if error.filename else ""
        raise click.ClickException(f"{where}{error.strerror or error}") from error


def print_summary(summary: dict[str, Any], as_json: bool) -> None:
    """Print what a command found: a table, or JSON."""
    if as_json:
        click.echo(json.dumps(summary))
        return
    for name, value in summary.items():
        if isinstance(value, dict):
            for key, count in value.items():
                click.echo(f"  {name + ': ' + key:<20} {count:>14,}")
        else:
            click.echo(f"{name:<22} {value if isinstance(value, str) else f'{value:>14,}'}")
