"""`marquee serve`."""

import os
import sys
import tempfile
from pathlib import Path

import click

from app.settings import Settings

#: Read by prometheus_client when it is imported, so it is set before gunicorn starts.
MULTIPROCESS = "PROMETHEUS_MULTIPROC_DIR"


@click.command(epilog="Example: MARQUEE_MODEL_DIR=model MARQUEE_BIND=127.0.0.1:8082 marquee serve")
@click.pass_obj
def serve(settings: Settings) -> None:
    """Answer `GET /recommend/<user_id>` under gunicorn until SIGTERM or Ctrl-C.

    Exit status 1: the model must not be served (said why).
    """
    from app.model.lists import RecommendationLists
    from app.model.manifest import ArtifactError

    try:
        RecommendationLists.open(settings.model_dir)
    except ArtifactError as error:
        raise click.ClickException(str(error)) from error
    _empty_metrics_directory()
    # In this process: a second interpreter would import everything once more (0.3 s). The metrics
    # directory must be named by now, since gunicorn's configuration imports prometheus_client.
    from gunicorn.app.wsgiapp import run

    configuration = ["--config", "python:app.service.gunicorn_conf"]
    sys.argv = ["gunicorn", *configuration, "app.service.application:wsgi()"]
    run()


def _empty_metrics_directory() -> None:
    """Workers share their counts through files; what an earlier run left is counted again."""
    if MULTIPROCESS not in os.environ:
        os.environ[MULTIPROCESS] = tempfile.mkdtemp(prefix="marquee-metrics-")
    directory = Path(os.environ[MULTIPROCESS])
    directory.mkdir(parents=True, exist_ok=True)
    for left_over in directory.glob("*.db"):
        left_over.unlink()
