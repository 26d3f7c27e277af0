"""`marquee collect`, `import-ratings`, `prepare` and `data`."""

import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from app.cli_errors import explain_errors
from app.durations import Duration
from app.engine_options import engine_options, find_master
from app.json_output import print_json
from app.settings import Settings

if TYPE_CHECKING:
    from app.ingest.prepare import PrepareEngine

STORE_OPTION = click.option(
    "--store",
    type=click.Path(path_type=Path, file_okay=False),
    default=None,
    help="Store directory. [default: setting store_dir]",
)
JSON_OPTION = click.option("--json", "as_json", is_flag=True, help="Print JSON.")


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
    help="Log file or pipe, plain or compressed, or - for standard input. Can be given several "
    "times.",
)
@click.option(
    "--for",
    "duration_seconds",
    type=Duration(),
    metavar="15m",
    help="Consume the topic for this long, then exit.",
)
@STORE_OPTION
@JSON_OPTION
@click.pass_obj
def collect(
    settings: Settings,
    files: tuple[str, ...],
    duration_seconds: float | None,
    store: Path | None,
    as_json: bool,
) -> None:
    """Ingest the lines of the Kafka topic, or of log files, into the store.

    Without --file it consumes `kafka_topic` until SIGTERM or Ctrl-C, reconnects to an unavailable
    broker, and serves `/metrics` at `collector_bind`. Without `kafka_servers` it idles.

    Prints the number of lines by kind. `rejected` lines are counted by reason. `repaired` lines
    have a corrupted movie id that is corrected whenever the store is read: some of them were
    rejected (reason `movie`), others look valid. Ingesting a file again changes nothing. See
    docs/ingest.md.
    """
    _configure_allocators()

    from app.ingest.ingest_files import ingest_log_files
    from app.ingest.log_parser import RatingScale
    from app.ingest.time_limits import TimeLimits

    store_dir = store or settings.store_dir
    if not files:
        _consume(settings.model_copy(update={"store_dir": store_dir}), duration_seconds, as_json)
        return
    if duration_seconds is not None:
        raise click.UsageError("--for cannot be used with --file")
    scale = RatingScale(settings.rating_min, settings.rating_max)
    with explain_errors():
        summary = ingest_log_files(
            list(files), store_dir, scale, TimeLimits.from_settings(settings)
        )
    print_summary(summary, as_json)


def _consume(settings: Settings, duration_seconds: float | None, as_json: bool) -> None:
    from app.ingest.kafka.collector import run_collector

    if duration_seconds is not None and not settings.kafka_servers:
        raise click.UsageError("--for needs a broker: MARQUEE_KAFKA_SERVERS is not set")
    with explain_errors():
        summary = run_collector(settings, duration_seconds)
    if summary or as_json:
        print_summary(summary or {"status": "disabled"}, as_json)


def _configure_allocators() -> None:
    """Make Polars and Arrow return freed memory quickly; call it before they are imported.

    By default their allocators keep freed pages, more of them the longer a process runs. Returning
    pages at once would cost 30 % of the throughput; within 50 ms it costs 5 %.
    """
    os.environ.setdefault("_RJEM_MALLOC_CONF", "dirty_decay_ms:50,muzzy_decay_ms:0")
    os.environ.setdefault("ARROW_DEFAULT_MEMORY_POOL", "system")


@click.command(
    epilog="Examples: marquee import-ratings ratings.csv --json;"
    "  MARQUEE_RATING_MIN=0.5 marquee import-ratings ml-latest-small/ratings.csv"
)
@click.argument("tables", metavar="CSV...", nargs=-1, required=True)
@STORE_OPTION
@JSON_OPTION
@click.pass_obj
def import_ratings(
    settings: Settings, tables: tuple[str, ...], store: Path | None, as_json: bool
) -> None:
    """Ingest CSV tables of ratings into the store; print rows accepted and rejected by reason.

    A table has a header that names user, movie, rating and optionally time, in any order. Without a
    header, rows have three columns (user, movie, rating) or four (time first or last). Delimited by
    comma, tab, semicolon, :: or |; UTF-8, UTF-16 or Latin-1; plain, gzip, bzip2 or xz; a file, a
    pipe, or - for standard input. docs/ingest.md describes numbers and times.
    """
    from app.ingest.ingest_files import ingest_rating_tables
    from app.ingest.log_parser import RatingScale
    from app.ingest.time_limits import TimeLimits

    scale = RatingScale(settings.rating_min, settings.rating_max)
    times = TimeLimits.from_settings(settings)
    with explain_errors():
        summary = ingest_rating_tables(list(tables), store or settings.store_dir, scale, times)
    print_summary(summary, as_json)


@click.command(epilog="Example: marquee prepare --out data/prepared --test-share 0.2")
@STORE_OPTION
@click.option(
    "--out",
    type=click.Path(path_type=Path, file_okay=False),
    required=True,
    help="Output directory; replaced atomically.",
)
@click.option(
    "--test-share",
    type=click.FloatRange(0, 1, min_open=True, max_open=True),
    default=None,
    help="Also write train/ and test/, split at one time: this share of the ratings, the newest, "
    "is the test side.",
)
@click.option(
    "--window",
    "window_file",
    type=click.Path(path_type=Path),
    default=None,
    help="data/window.json: which events are the test side and which are excluded; in place of "
    "--test-share.",
)
@engine_options
@JSON_OPTION
@click.pass_obj
def prepare(
    settings: Settings,
    store: Path | None,
    out: Path,
    test_share: float | None,
    window_file: Path | None,
    engine: str | None,
    master: str | None,
    as_json: bool,
) -> None:
    """Write the tables that training reads: ratings.parquet and watches.parquet.

    Corrupted movie ids are repaired; rows whose id cannot be repaired are dropped and counted. The
    same events give the same bytes, on this machine and on Spark.
    """
    from app.ingest.data_window import read_window
    from app.ingest.prepare import prepare_tables
    from app.ingest.time_limits import TimeLimits

    url = find_master(settings, engine, master)

    if window_file is not None and test_share is not None:
        raise click.UsageError("give --window or --test-share, not both")
    with explain_errors():
        window = None if window_file is None else read_window(window_file)
        times = TimeLimits.from_settings(settings)
        source = store or settings.store_dir
        with _connect_engine(url, source) as work:
            summary = prepare_tables(source, out, test_share, window, times, work)
    print_summary(summary, as_json)


@contextmanager
def _connect_engine(master: str | None, store: Path) -> "Iterator[PrepareEngine | None]":
    """Yield the engine that prepares a store: a Spark cluster, or None for this process."""
    if master is None:
        yield None
        return
    from app.ingest.prepare_spark import SparkEngine
    from app.spark.cluster import connect

    with connect(master, "prepare") as cluster:
        yield SparkEngine(cluster, store)


@click.group()
def data() -> None:
    """Inspect the store."""


@data.command(epilog="Example: marquee data stats --json")
@STORE_OPTION
@JSON_OPTION
@click.pass_obj
def stats(settings: Settings, store: Path | None, as_json: bool) -> None:
    """Print pairs, ratings, users, movies, repaired ids, files and offsets of the store.

    `newest` is the time of the newest events. `unrepairable_ids` are movie ids that cannot be
    repaired; `marquee prepare` drops their rows. `offsets` are the next offset of each partition.
    """
    from app.ingest.store_stats import describe_store

    with explain_errors():
        summary = describe_store(store or settings.store_dir)
    print_summary(summary, as_json)


def print_summary(summary: dict[str, Any], as_json: bool) -> None:
    """Print the result of a command as a table, or as JSON."""
    if as_json:
        print_json(summary)
        return
    for name, value in summary.items():
        if isinstance(value, dict):
            for key, count in value.items():
                click.echo(f"  {name + ': ' + key:<20} {count:>14,}")
        else:
            click.echo(f"{name:<22} {value if isinstance(value, str) else f'{value:>14,}'}")
