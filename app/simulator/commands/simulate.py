"""`marquee simulate`."""

from datetime import datetime
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import click

from app.cli_errors import explain_errors
from app.json_output import print_json
from app.settings import Settings
from app.simulator.commands import options

_SHARE = click.FloatRange(0, 1)


@click.command(
    epilog="Examples: marquee simulate --days 1 --out stream.log --json;"
    "  marquee simulate --url http://localhost:8082 --rate 20;"
    "  MARQUEE_KAFKA_SERVERS=localhost:9094 marquee simulate --url http://localhost:8082"
    " --days 14 --speed 672 --start 2026-01-01"
)
@click.option("--url", help="Base URL of the service to send requests to.")
@click.option(
    "--model",
    type=click.Path(path_type=Path, exists=True, file_okay=False),
    help="Model directory to recommend from, instead of a service.",
)
@click.option(
    "--recent",
    is_flag=True,
    help="With --model: recommendations depend on what was watched before in this run.",
)
@click.option(
    "--days",
    type=click.FloatRange(0, min_open=True),
    help="Simulated days.  [default: with --url until stopped, or until a --speed above 1 has "
    "reached the clock; otherwise 1]",
)
@click.option(
    "--speed",
    type=click.FloatRange(0, min_open=True),
    default=1.0,
    show_default=True,
    help="Simulated seconds in a second of real time.",
)
@click.option(
    "--rate",
    type=click.FloatRange(0, min_open=True),
    default=4.0,
    show_default=True,
    help="Mean requests in a second of real time.",
)
@click.option(
    "--diurnal",
    type=_SHARE,
    default=0.0,
    show_default=True,
    help="Amplitude of the daily cycle of the request rate.",
)
@click.option(
    "--bursts",
    type=click.FloatRange(0),
    default=0.0,
    show_default=True,
    help="Bursts an hour: five times the rate for ten seconds.",
)
@options.seed
@click.option(
    "--start",
    type=click.DateTime(["%Y-%m-%d", "%Y-%m-%dT%H:%M:%S"]),
    help="Simulated time at the start; --speed above 1 needs one in the past, such as 2026-01-01."
    "  [default: now with --url, otherwise the end of the sample]",
)
@click.option(
    "--max-users",
    type=click.IntRange(1, 1_000_000),
    default=1_000_000,
    show_default=True,
    help="Users who can sign up.",
)
@click.option(
    "--new-users",
    type=_SHARE,
    default=0.05,
    show_default=True,
    help="Share of requests by users who have just signed up.",
)
@options.movies
@options.new_movies
@options.drift
@click.option(
    "--corruption",
    type=_SHARE,
    default=0.001,
    show_default=True,
    help="Share of log lines with one character inserted.",
)
@click.option(
    "--random-ids",
    type=_SHARE,
    default=0.0001,
    show_default=True,
    help="Share of log lines with a random text as movie id.",
)
@click.option(
    "--short-times",
    type=_SHARE,
    default=1.0,
    show_default=True,
    help="Share of times at second :00 written without seconds.",
)
@click.option(
    "--invalid",
    type=_SHARE,
    default=0.001,
    show_default=True,
    help="Share of requests without a valid user id.",
)
@click.option("--out", help="File to write the log to; - is standard output.")
@click.option("--metrics-bind", metavar="HOST:PORT", help="Serve Prometheus metrics here.")
@options.as_json
@click.pass_obj
def simulate(
    settings: Settings,
    url: str | None,
    model: Path | None,
    recent: bool,
    days: float | None,
    speed: float,
    rate: float,
    diurnal: float,
    bursts: float,
    seed: int,
    start: datetime | None,
    max_users: int,
    new_users: float,
    movies: int,
    new_movies: float,
    drift: float,
    corruption: float,
    random_ids: float,
    short_times: float,
    invalid: float,
    out: str | None,
    metrics_bind: str | None,
    as_json: bool,
) -> None:
    """Simulate users who request recommendations, choose a movie, watch and rate it.

    What they do is written as a log to the Kafka brokers of MARQUEE_KAFKA_SERVERS and to --out.
    Without --url the run takes no real time, and the same options give the same log, byte for
    byte; without --url and --model users find movies without recommendations. Ctrl-C and SIGTERM
    end a run with --url and print its summary. A run whose time would be ahead of the clock at its
    end does not start: the collector rejects lines of the future. Begin such a run in the past,
    with --start. See docs/simulator.md.
    """
    from app.ingest.kafka.connection import connection_options
    from app.ingest.log_parser import RatingScale
    from app.simulator.arrivals import ArrivalSettings
    from app.simulator.clock import limit_days
    from app.simulator.corruption import CorruptionRates
    from app.simulator.driver import DEFAULT_DAYS, RunOptions, run_simulation
    from app.simulator.environment import SAMPLE_END, EnvironmentSettings
    from app.simulator.movies import MAX_DAYS
    from app.simulator.simulation import SimulationSettings

    _check_usage(url, model, recent, out, as_json)
    now = datetime.now()
    start = start or (now.replace(microsecond=0) if url else SAMPLE_END)
    with explain_errors():
        days = limit_days(start, days if url else days or DEFAULT_DAYS, speed if url else None, now)
    environment = EnvironmentSettings(
        seed=seed,
        start=start,
        max_users=max_users,
        movies=movies,
        new_movies=new_movies,
        drift=drift,
        days=MAX_DAYS if days is None else days,
    )
    simulation = SimulationSettings(
        environment,
        ArrivalSettings(rate, speed, diurnal, bursts, new_users=new_users, invalid=invalid),
        CorruptionRates(corruption, random_ids, short_times),
        RatingScale(settings.rating_min, settings.rating_max),
        urlsplit(url).netloc if url else "localhost:8082",
    )
    with explain_errors():
        connection = connection_options(settings) if settings.kafka_servers else {}
        run = RunOptions(
            url, model, recent, days, out, connection, settings.kafka_topic, metrics_bind
        )
        summary = run_simulation(simulation, run)
    if as_json:
        print_json(summary)
    else:
        _print_summary(summary, to_stderr=out == "-")


def _check_usage(
    url: str | None, model: Path | None, recent: bool, out: str | None, as_json: bool
) -> None:
    """Check what click cannot.

    Raises:
        click.UsageError: options exclude each other, or the URL has no scheme.
    """
    if url and model:
        raise click.UsageError("--url and --model exclude each other")
    if recent and not model:
        raise click.UsageError("--recent needs --model: a service uses recent activity by itself")
    if url and urlsplit(url).scheme not in ("http", "https"):
        raise click.UsageError(f"--url: not an HTTP address: {url}")
    if out == "-" and as_json:
        raise click.UsageError("--out - and --json would both write to standard output")


def _print_summary(summary: dict[str, Any], to_stderr: bool) -> None:
    from rich.console import Console

    from app.simulator.progress import summary_tables

    console = Console(stderr=to_stderr)
    for table in summary_tables(summary):
        console.print(table, "")
