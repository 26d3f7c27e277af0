"""`marquee simulate`, `information-api`, `compare-versions` and `make-sample`."""

import json
from contextlib import suppress
from datetime import datetime
from pathlib import Path
from typing import Any

import click

from app.settings import Settings
from app.simulator import paired_evaluation

_SHARE = click.FloatRange(0, 1)
_SEED = click.option(
    "--seed", type=click.IntRange(0, (1 << 48) - 1), default=8082, show_default=True
)
_START = click.option(
    "--start",
    type=click.DateTime(["%Y-%m-%d", "%Y-%m-%dT%H:%M:%S"]),
    help="The world's time at the start.  [default: now with --url, otherwise when the"
    " sample ends]",
)
_MOVIES = click.option(
    "--movies",
    type=click.IntRange(600, 200_000),
    default=600,
    show_default=True,
    help="Movies at the start: the sample's, and more.",
)
_NEW_MOVIES = click.option(
    "--new-movies",
    type=click.FloatRange(0, 100),
    default=2.0,
    show_default=True,
    help="New movies a day.",
)
_DRIFT = click.option(
    "--drift",
    type=click.FloatRange(0, 10),
    default=0.02,
    show_default=True,
    help="How far tastes turn each day, in radians.",
)


@click.command(
    epilog="Examples: marquee simulate --days 1 --out stream.log --json;"
    "  marquee simulate --url http://localhost:8082 --rate 20;"
    "  MARQUEE_KAFKA_SERVERS=localhost:9094 marquee simulate --url http://localhost:8082"
    " --days 14 --speed 672"
)
@click.option("--url", help="Service to ask; without it and --model nobody is asked.")
@click.option(
    "--model",
    type=click.Path(path_type=Path, exists=True, file_okay=False),
    help="Answer from this model directory instead of a service.",
)
@click.option(
    "--days",
    type=click.FloatRange(0, min_open=True),
    help="Days of the world's time.  [default: with --url until stopped, otherwise 1]",
)
@click.option(
    "--speed",
    type=click.FloatRange(0, min_open=True),
    default=1.0,
    show_default=True,
    help="Seconds of the world in a second of real time.",
)
@click.option(
    "--rate",
    type=click.FloatRange(0, min_open=True),
    default=4.0,
    show_default=True,
    help="Requests each second of real time.",
)
@click.option(
    "--rhythm",
    type=_SHARE,
    default=0.0,
    show_default=True,
    help="How much less is asked at night, and more by day.",
)
@click.option(
    "--bursts",
    type=click.FloatRange(0),
    default=0.0,
    show_default=True,
    help="Times an hour when five times as much is asked, for ten seconds.",
)
@_SEED
@_START
@click.option(
    "--users",
    type=click.IntRange(1, 1_000_000),
    default=1_000_000,
    show_default=True,
    help="Most people there can be.",
)
@click.option(
    "--newcomers",
    type=_SHARE,
    default=0.05,
    show_default=True,
    help="Share of requests of users who just joined.",
)
@_MOVIES
@_NEW_MOVIES
@_DRIFT
@click.option(
    "--damage",
    type=_SHARE,
    default=0.001,
    show_default=True,
    help="Share of lines with one character inserted.",
)
@click.option(
    "--random-ids",
    type=_SHARE,
    default=0.0001,
    show_default=True,
    help="Share of lines with a random text for a movie id.",
)
@click.option(
    "--short-times",
    type=_SHARE,
    default=1.0,
    show_default=True,
    help="Share of times at second :00 without seconds.",
)
@click.option(
    "--invalid",
    type=_SHARE,
    default=0.001,
    show_default=True,
    help="Share of requests without a user id.",
)
@click.option("--out", help="Write the lines to this file; - is standard output.")
@click.option("--metrics", metavar="HOST:PORT", help="Answer Prometheus here.")
@click.option("--json", "as_json", is_flag=True, help="Print JSON.")
@click.pass_obj
def simulate(
    settings: Settings,
    url: str | None,
    model: Path | None,
    days: float | None,
    speed: float,
    rate: float,
    rhythm: float,
    bursts: float,
    seed: int,
    start: datetime | None,
    users: int,
    newcomers: float,
    movies: int,
    new_movies: float,
    drift: float,
    damage: float,
    random_ids: float,
    short_times: float,
    invalid: float,
    out: str | None,
    metrics: str | None,
    as_json: bool,
) -> None:
    """Be the world: people who ask for movies, choose, watch, rate, and tell the stream.

    Lines go to Kafka where MARQUEE_KAFKA_SERVERS names brokers, and to --out. Without --url the
    same options give the same lines, byte for byte. Ctrl-C ends a run and sums it up. See
    docs/simulator.md.
    """
    from urllib.parse import urlsplit

    from app.ingest.log_parser import RatingScale
    from app.simulator.arrivals import Rates
    from app.simulator.corruption import DamageRates
    from app.simulator.environment import SAMPLE_END, WorldSettings
    from app.simulator.simulate import Plan, SimulationError
    from app.simulator.simulate import simulate as run
    from app.simulator.simulation import RunSettings

    if url and model:
        raise click.UsageError("give --url or --model, not both")
    if url and urlsplit(url).scheme not in ("http", "https"):
        raise click.UsageError(f"--url: not an address: {url}")
    if out == "-" and as_json:
        raise click.UsageError("--out - and --json would both write to standard output")
    began = start or (datetime.now().replace(microsecond=0) if url else SAMPLE_END)
    world = WorldSettings(seed, began, users, movies, new_movies, drift)
    what = RunSettings(
        world if days is None else WorldSettings(**{**vars(world), "days": days}),
        Rates(rate, speed, rhythm, bursts, newcomers=newcomers, invalid=invalid),
        DamageRates(damage, random_ids, short_times),
        RatingScale(settings.rating_min, settings.rating_max),
        urlsplit(url).netloc if url else "localhost:8082",
    )
    plan = Plan(what, url, model, days, out, settings.kafka_servers, settings.kafka_topic, metrics)
    try:
        summary = run(plan)
    except SimulationError as error:
        raise click.ClickException(str(error)) from error
    if as_json:
        click.echo(json.dumps(summary))
    else:
        _print(summary, to_stderr=out == "-")


def _print(summary: dict[str, Any], to_stderr: bool) -> None:
    from rich.console import Console

    from app.simulator.progress import tables

    console = Console(stderr=to_stderr)
    for table in tables(summary):
        console.print(table, "")


@click.command(
    "information-api",
    epilog="Example: marquee information-api --bind 127.0.0.1:8080 --limit 5;"
    "  curl localhost:8080/user/42,43",
)
@click.option("--bind", default="127.0.0.1:8080", show_default=True, metavar="HOST:PORT")
@click.option(
    "--limit",
    type=click.FloatRange(0, min_open=True),
    default=10.0,
    show_default=True,
    help="Requests a second each client may make; of more, 429.",
)
@_SEED
@_MOVIES
@_NEW_MOVIES
def information_api(bind: str, limit: float, seed: int, movies: int, new_movies: float) -> None:
    """Tell who users are and what movies are: /user/<id>, /movie/<id>, up to 200 ids at once.

    Seed and movies must be those of `marquee simulate`. Prometheus is answered at /metrics.
    """
    from app.simulator.environment import World, WorldSettings
    from app.simulator.metadata_server import InformationServer

    world = World(WorldSettings(seed=seed, movies=movies, new_movies=new_movies))
    try:
        server = InformationServer(bind, world, limit)
    except (OSError, ValueError) as error:
        raise click.ClickException(f"cannot listen at {bind}: {error}") from error
    with server, suppress(KeyboardInterrupt):
        server.serve_forever()


@click.command(
    "compare-versions",
    epilog="Example: marquee compare-versions --watches data/prepared/watches.parquet v1 v2 v3",
)
@click.argument(
    "models",
    nargs=-1,
    required=True,
    metavar="MODEL...",
    type=click.Path(path_type=Path, exists=True, file_okay=False),
)
@click.option(
    "--watches",
    type=click.Path(path_type=Path, exists=True, dir_okay=False),
    required=True,
    help="Who watched what, as `marquee prepare` writes it.",
)
@click.option("--users", type=click.IntRange(2), default=10_000, show_default=True)
@click.option("--day", type=float, default=0.0, show_default=True, help="Tastes are those of it.")
@_SEED
@_MOVIES
@_NEW_MOVIES
@_DRIFT
@click.option("--json", "as_json", is_flag=True, help="Print JSON.")
def compare_versions(
    models: tuple[Path, ...],
    watches: Path,
    users: int,
    day: float,
    seed: int,
    movies: int,
    new_movies: float,
    drift: float,
    as_json: bool,
) -> None:
    """Compare model versions in true utility, each with the one before, in the order given.

    The same users, with their tastes of one day, and without the movies they watched. A version is
    `worse` when it is so beyond chance, over all comparisons. Exit status 1 when one is. Options
    must be those of `marquee simulate`.
    """
    from app.model.manifest import ArtifactError
    from app.simulator.environment import World, WorldSettings

    world = World(WorldSettings(seed=seed, movies=movies, new_movies=new_movies, drift=drift))
    watched = paired_evaluation.read_watched(world, watches)
    asked = paired_evaluation.choose_users(world, watched, users)
    try:
        result = paired_evaluation.compare_models(world, list(models), asked, watched, day)
    except ArtifactError as error:
        raise click.ClickException(str(error)) from error
    if as_json:
        click.echo(json.dumps(result))
    else:
        _print_comparison(result)
    if any(row["worse"] for row in result["comparisons"]):
        raise click.exceptions.Exit(1)


def _print_comparison(result: dict[str, Any]) -> None:
    for means in result["versions"]:
        share = f"{means['share_of_best']:.1%} of the best"
        click.echo(f"{means['model']:<20} listed {means['listed']:.4f}, {share}")
    for row in result["comparisons"]:
        verdict = "WORSE" if row["worse"] else "not worse"
        click.echo(
            f"{row['before']} -> {row['after']}: {row['difference']:+.4f} +- {row['error']:.4f}, "
            f"{row['users']:,} users: {verdict}"
        )


@click.command("make-sample", epilog="Example: marquee make-sample --out data/sample --seed 8082")
@click.option("--out", type=click.Path(path_type=Path), required=True, help="Directory to write.")
@click.option("--seed", type=int, default=8082, show_default=True)
@click.option("--json", "as_json", is_flag=True, help="Print JSON.")
def make_sample(out: Path, seed: int, as_json: bool) -> None:
    """Make the small sample of ratings and watches that `make run` trains on."""
    from app.simulator.sample_data import write_sample

    rows = write_sample(out, seed)
    click.echo(json.dumps(rows) if as_json else f"{out}: " + _list(rows))


def _list(rows: dict[str, int]) -> str:
    return ", ".join(f"{count:,} {name}" for name, count in rows.items())
