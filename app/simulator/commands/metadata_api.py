"""`marquee metadata-api`."""

import click

from app.simulator.commands import options


@click.command(
    "metadata-api",
    epilog="Example: marquee metadata-api --bind 127.0.0.1:8080 --rate-limit 5;"
    "  curl localhost:8080/user/42,43",
)
@click.option("--bind", default="127.0.0.1:8080", show_default=True, metavar="HOST:PORT")
@click.option(
    "--rate-limit",
    type=click.FloatRange(0, min_open=True),
    default=10.0,
    show_default=True,
    help="Requests a second for each client; status 429 beyond that.",
)
@options.seed
@options.movies
@options.new_movies
def metadata_api(bind: str, rate_limit: float, seed: int, movies: int, new_movies: float) -> None:
    """Serve user and movie metadata: /user/<id>, /movie/<id>, up to 200 ids at once.

    Seed and movies must be those of `marquee simulate`. Prometheus metrics are at /metrics.
    """
    from app.http_server import BackgroundServer
    from app.shutdown import stop_event
    from app.simulator.environment import Environment, EnvironmentSettings
    from app.simulator.metadata_server import create_metadata_app

    stop = stop_event()
    settings = EnvironmentSettings(seed=seed, movies=movies, new_movies=new_movies)
    try:
        app = create_metadata_app(Environment(settings), rate_limit)
        server = BackgroundServer(bind, app)
    except (OSError, ValueError) as error:
        raise click.ClickException(f"cannot listen at {bind}: {error}") from error
    stop.wait()
    server.stop()
