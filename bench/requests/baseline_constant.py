"""The peer: one constant answer on the same Flask, gunicorn configuration and exporter.

`wsgi()` has the exporter as its documentation sets it up, `plain()` has none. The answer is as
long as ours are. `python -m bench.requests.baseline_constant` serves it, in a container.
"""

import os
import sys
from pathlib import Path

from flask import Flask, Response
from prometheus_flask_exporter.multiprocess import GunicornInternalPrometheusMetrics

from bench.requests.model import movie_ids

LENGTH = 20
#: As `app.service.metrics` has them: each bound that is compared costs time.
BUCKETS = (0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.2, 0.25, 0.3, 0.5, 0.6, 1.0, 2.5)
GUNICORN = [sys.executable, "-m", "gunicorn", "--config", "python:app.service.gunicorn_conf"]


def plain() -> Flask:
    """The constant answer alone."""
    app = Flask("constant", static_folder=None)
    answer = ",".join(movie_ids(LENGTH))

    @app.get("/recommend/<user_id>")
    def recommend(user_id: str) -> Response:
        return Response(answer, mimetype="text/plain")

    @app.get("/ready")
    def ready() -> str:
        return "ready"

    return app


def wsgi() -> Flask:
    """The constant answer with metrics of each route."""
    app = plain()
    GunicornInternalPrometheusMetrics(app, group_by="url_rule", buckets=BUCKETS)
    return app


if __name__ == "__main__":
    Path(os.environ["PROMETHEUS_MULTIPROC_DIR"]).mkdir(exist_ok=True)
    os.execv(sys.executable, [*GUNICORN, "bench.requests.baseline_constant:wsgi()"])
