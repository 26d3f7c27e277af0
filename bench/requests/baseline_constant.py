"""Baseline: a constant response of the same length, with the same Flask and gunicorn configuration.

`wsgi()` uses prometheus-flask-exporter as its documentation describes, `plain()` has no metrics.
`python -m bench.requests.baseline_constant` serves it in a container.
"""

import os
import sys
from pathlib import Path

from flask import Flask, Response
from prometheus_flask_exporter.multiprocess import GunicornInternalPrometheusMetrics

from app.service.metrics import LATENCY_BUCKETS_SECONDS
from bench.requests.model import movie_ids

LENGTH = 20
GUNICORN = [sys.executable, "-m", "gunicorn", "--config", "python:app.service.gunicorn_conf"]


def plain() -> Flask:
    """The constant response without metrics."""
    app = Flask("constant", static_folder=None)
    body = ",".join(movie_ids(LENGTH))

    @app.get("/recommend/<user_id>")
    def recommend(user_id: str) -> Response:
        return Response(body, mimetype="text/plain")

    @app.get("/ready")
    def ready() -> str:
        return "ready"

    return app


def wsgi() -> Flask:
    """The constant response with metrics of each route."""
    app = plain()
    GunicornInternalPrometheusMetrics(app, group_by="url_rule", buckets=LATENCY_BUCKETS_SECONDS)
    return app


if __name__ == "__main__":
    Path(os.environ["PROMETHEUS_MULTIPROC_DIR"]).mkdir(exist_ok=True)
    os.execv(sys.executable, [*GUNICORN, "bench.requests.baseline_constant:wsgi()"])
