"""`marquee serve`."""

import os
import subprocess
import sys
import tempfile
from pathlib import Path

import click

from app.settings import Settings

#: Read by prometheus_client when it is imported, so it is set before gunicorn starts.
MULTIPROCESS = "PROMETHEUS_MULTIPROC_DIR"


@click.command(epilog="Example: MARQUEE_MODEL_DIR=model MARQUEE_BIND=127.0.0.1:8082 marquee serve")
@click.option(
    "--ship", is_flag=True, help="Also take what is recorded to the database, in a process beside."
)
@click.pass_obj
def serve(settings: Settings, ship: bool) -> None:
    """Answer `GET /recommend/<user_id>` under gunicorn until SIGTERM or Ctrl-C.

    Exit status 1: the model must not be served (said why).
    """
    from app.model.manifest import ArtifactError
    from app.model.recommendation_lists import RecommendationLists

    try:
        RecommendationLists.open(settings.model_dir)
    except ArtifactError as error:
        raise click.ClickException(str(error)) from error
    if ship and settings.provenance_enabled:
        _start_shipper()
    _empty_metrics_directory()
    # In this process: a second interpreter would import everything once more (0.3 s). The metrics
    # directory must be named by now, since gunicorn's configuration imports prometheus_client.
    from gunicorn.app.wsgiapp import run

    configuration = ["--config", "python:app.service.gunicorn_conf"]
    sys.argv = ["gunicorn", *configuration, "app.service.application:wsgi()"]
    run()


def _start_shipper() -> None:
    """Run `marquee ship` for as long as this process, or a worker of it, lives.

    The other end of its standard input is held by this process and those forked from it: when the
    last one is gone, however it went, the shipper takes what is left and ends.
    """
    ours = subprocess.Popen(
        [sys.executable, "-m", "app", "ship", "--with-parent"], stdin=subprocess.PIPE
    ).stdin
    assert ours is not None  # noqa: S101 - it is a pipe
    os.set_inheritable(ours.fileno(), True)


def _empty_metrics_directory() -> None:
    """Workers share their counts through files; what an earlier run left is counted again."""
    if MULTIPROCESS not in os.environ:
        os.environ[MULTIPROCESS] = tempfile.mkdtemp(prefix="marquee-metrics-")
    directory = Path(os.environ[MULTIPROCESS])
    directory.mkdir(parents=True, exist_ok=True)
    for left_over in directory.glob("*.db"):
        left_over.unlink()
