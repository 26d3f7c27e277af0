"""What Prometheus scrapes: request metrics under the exporter's names, and ours. Built once.

With several gunicorn workers each process keeps its counts in files below
`PROMETHEUS_MULTIPROC_DIR`, and any of them can answer `/metrics` for all. Info metrics and
callbacks do not exist in that mode: `_info` is a gauge of 1, and the age is set on each scrape.
"""

import os
import time
from datetime import datetime

from flask import Flask, Response, request
from prometheus_client import CollectorRegistry, Counter, Gauge
from prometheus_flask_exporter import PrometheusMetrics
from prometheus_flask_exporter.multiprocess import GunicornPrometheusMetrics

from app.model.manifest import Manifest
from app.service.request_metrics import RequestMetrics
from app.settings import Settings

MULTIPROCESS = "PROMETHEUS_MULTIPROC_DIR"


class Metrics:
    """The metrics of one application."""

    def __init__(self, app: Flask, settings: Settings, manifest: Manifest) -> None:
        registry = CollectorRegistry()
        version = str(manifest.version)
        exporter = GunicornPrometheusMetrics if MULTIPROCESS in os.environ else PrometheusMetrics
        self._exporter = exporter(app, path=None, export_defaults=False, registry=registry)
        RequestMetrics(registry, version, settings.edge_try_seconds).init_app(app)
        answers = Counter(
            "marquee_recommendations_total",
            "Recommendations answered, by where the list came from.",
            ["source"],
            registry=registry,
        )
        self.answers = {source: answers.labels(source) for source in ("personal", "popular")}
        self.lost = Counter(
            "marquee_provenance_records_dropped_total",
            "Answers whose record is lost: dropped from a full queue, or not written.",
            ["reason"],
            registry=registry,
        )
        info = Gauge(
            "marquee_model_info",
            "1; the labels say which model is served.",
            ["version", "model_hash"],
            registry=registry,
            multiprocess_mode="max",
        )
        info.labels(version, manifest.model_hash[:12]).set(1)
        self._created = datetime.fromisoformat(manifest.created).timestamp()
        self._age = Gauge(
            "marquee_model_age_seconds",
            "Time since the served model was made.",
            registry=registry,
            multiprocess_mode="mostrecent",
        )
        app.add_url_rule("/metrics", endpoint="metrics", view_func=self._scrape)

    def _scrape(self) -> Response:
        # The exporter's own route would also take `?name[]=`, which ends in a 500 here.
        self._age.set(max(0.0, time.time() - self._created))
        text, content_type = self._exporter.generate_metrics(request.headers.get("Accept"))
        return Response(text, content_type=content_type)
