"""`marquee serve`."""

import os
import subprocess
import sys

import click

from app.cli_errors import explain_errors
from app.settings import Settings


@click.command(epilog="Example: MARQUEE_MODEL_DIR=model MARQUEE_BIND=127.0.0.1:8082 marquee serve")
@click.option(
    "--ship",
    is_flag=True,
    help="Also run the shipper, which writes recorded responses to the database.",
)
@click.pass_obj
def serve(settings: Settings, ship: bool) -> None:
    """Serve recommendations over HTTP.

    Runs gunicorn with the route `GET /recommend/<user_id>` until SIGTERM or Ctrl-C.

    Exit status 1: the model is not valid (the reason is printed).
    """
    from app.model.recommendation_lists import RecommendationLists
    from app.service import metrics_directory

    with explain_errors():
        RecommendationLists.open(settings.model_dir)
    if ship and settings.provenance_enabled:
        _start_shipper()
    metrics_directory.create()
    # gunicorn runs in this process: another interpreter would take 0.3 s more to start.
    from gunicorn.app.wsgiapp import run

    configuration = ["--config", "python:app.service.gunicorn_conf"]
    sys.argv = ["gunicorn", *configuration, "app.service.application:wsgi()"]
    run()


def _start_shipper() -> None:
    """Run `marquee ship` as a child process until this process and all its workers have ended.

    The shipper reads a pipe whose other end this process and its forks inherit: end of file
    means that the last of them has ended, by whatever cause. It then ships the rest and exits.
    """
    pipe = subprocess.Popen(
        [sys.executable, "-m", "app", "ship", "--exit-with-parent"], stdin=subprocess.PIPE
    ).stdin
    assert pipe is not None  # noqa: S101 - because of PIPE
    os.set_inheritable(pipe.fileno(), True)
