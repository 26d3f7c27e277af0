"""`marquee compare-versions`."""

from pathlib import Path
from typing import Any

import click

from app.cli_errors import explain_errors
from app.json_output import print_json
from app.simulator.commands import options


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
    help="Table of watches, as `marquee prepare` writes it.",
)
@click.option("--users", type=click.IntRange(2), default=10_000, show_default=True)
@click.option(
    "--day",
    type=float,
    default=0.0,
    show_default=True,
    help="Simulated day at which utilities are evaluated.",
)
@options.seed
@options.movies
@options.new_movies
@options.drift
@options.as_json
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
    """Compare model versions by true utility, each with the one before, in the order given.

    Every version is evaluated for the same users on the same day, without the movies they have
    watched. A version is `worse` when a one-sided test over all comparisons (Holm) says so; then
    the exit status is 1. Seed, movies and drift must be those of `marquee simulate`.
    """
    from app.simulator import paired_evaluation
    from app.simulator.environment import Environment, EnvironmentSettings

    environment = Environment(
        EnvironmentSettings(seed=seed, movies=movies, new_movies=new_movies, drift=drift)
    )
    with explain_errors():
        watched = paired_evaluation.read_watched_movies(environment, watches)
        selected = paired_evaluation.select_users(environment, watched, users)
        result = paired_evaluation.compare_models(environment, list(models), selected, watched, day)
    if as_json:
        print_json(result)
    else:
        _print_comparison(result)
    if any(row["worse"] for row in result["comparisons"]):
        raise click.exceptions.Exit(1)


def _print_comparison(result: dict[str, Any]) -> None:
    for version in result["versions"]:
        share = f"{version['share_of_best']:.1%} of the best"
        click.echo(f"{version['model']:<20} listed {version['listed']:.4f}, {share}")
    for row in result["comparisons"]:
        verdict = "WORSE" if row["worse"] else "not worse"
        click.echo(
            f"{row['before']} -> {row['after']}: {row['difference']:+.4f}"
            f" +- {row['standard_error']:.4f}, {row['users']:,} users: {verdict}"
        )
