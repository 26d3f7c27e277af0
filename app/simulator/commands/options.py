"""Options that define the simulated environment; commands that share one need equal values."""

import click

#: Largest seed: seed and purpose share 64 bits of a random generator's key.
_MAX_SEED = (1 << 48) - 1

seed = click.option("--seed", type=click.IntRange(0, _MAX_SEED), default=8082, show_default=True)
movies = click.option(
    "--movies",
    type=click.IntRange(600, 200_000),
    default=600,
    show_default=True,
    help="Movies at the start: those of the sample, and generated ones.",
)
new_movies = click.option(
    "--new-movies",
    type=click.FloatRange(0, 100),
    default=2.0,
    show_default=True,
    help="Movies released each simulated day.",
)
drift = click.option(
    "--drift",
    type=click.FloatRange(0, 10),
    default=0.02,
    show_default=True,
    help="Rotation of the users' latent factors each simulated day, in radians.",
)
as_json = click.option("--json", "as_json", is_flag=True, help="Print JSON.")
