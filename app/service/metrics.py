"""The service's Prometheus metrics: requests, under the exporter's names, and our own.

Several workers share their counts through files (`app.service.metrics_directory`). That mode has
neither info metrics nor callbacks, so `_info` is a gauge of 1 and the age is set at each scrape.
"""

import os
import time
from datetime import datetime
from math import inf
from pathlib import Path
from time import perf_counter
from typing import get_args

from flask import Flask, Request, Response
from flask.globals import request
from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram
from prometheus_flask_exporter import PrometheusMetrics
from prometheus_flask_exporter.multiprocess import GunicornPrometheusMetrics

from app.model.manifest import Manifest
from app.model.recommendation_lists import Source
from app.recent_activity.reader import RecentActivityReader
from app.service import metrics_directory
from app.service.recent_recommender import UNUSED_REASONS
from app.volume_metrics import FREE_BYTES, SIZE_BYTES, measure_volume

#: NGINX's timeout for one try (`proxy_read_timeout` in nginx/nginx.conf).
EDGE_TRY_TIMEOUT_SECONDS = 0.25

#: Buckets of the request latency. One bound is NGINX's timeout, so that the share of slower
#: responses is exact; 0.5 is the limit of a release's verdict, 0.6 the timeout of clients.
LATENCY_BUCKETS_SECONDS = (
    *(0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.2),
    EDGE_TRY_TIMEOUT_SECONDS,
    *(0.3, 0.5, 0.6, 1.0, 2.5),
)

#: Probes would be counted as fast requests: six per minute.
_UNCOUNTED_ENDPOINTS = frozenset({"health.health", "health.ready", "metrics"})

#: Other methods are not counted: each would be a new label value.
_METHODS = frozenset(
    {"GET", "HEAD", "POST", "PUT", "DELETE", "OPTIONS", "PATCH", "TRACE", "CONNECT"}
)

#: The endpoint whose requests are counted when they start.
_RECOMMEND_ENDPOINT = "recommend.recommend"

#: Key of a request's WSGI environment: start of the request (`perf_counter`, seconds).
START = "marquee.start"


class Metrics:
    """All metrics of one application, and its route `/metrics`.

    Attributes:
        recommendations: counter of recommendations by source.
        recent_unused: counter of recommendations without recent activity, by reason.
        dropped_records: counter of responses whose provenance record was lost, by reason.
    """

    def __init__(self, app: Flask, manifest: Manifest, spool: Path) -> None:
        registry = CollectorRegistry()
        multiprocess = metrics_directory.VARIABLE in os.environ
        exporter = GunicornPrometheusMetrics if multiprocess else PrometheusMetrics
        self._exporter = exporter(app, path=None, export_defaults=False, registry=registry)
        RequestMetrics(registry, str(manifest.version)).init_app(app)
        recommendations = Counter(
            "marquee_recommendations_total",
            "Recommendations returned, by source of the list.",
            ["source"],
            registry=registry,
        )
        self.recommendations = {
            source: recommendations.labels(source) for source in get_args(Source)
        }
        unused = Counter(
            "marquee_recent_unused_total",
            "Recommendations that could not depend on recent activity, by reason.",
            ["reason"],
            registry=registry,
        )
        self.recent_unused = {reason: unused.labels(reason) for reason in UNUSED_REASONS}
        self._recent_reader: RecentActivityReader | None = None
        self._recent_age: Gauge | None = None
        self._registry = registry
        self.dropped_records = Counter(
            "marquee_provenance_records_dropped_total",
            "Responses whose provenance record was lost: the spool was full, or a write failed.",
            ["reason"],
            registry=registry,
        )
        self._add_model_metrics(registry, manifest)
        self._add_process_metrics(registry, spool)
        app.add_url_rule("/metrics", endpoint="metrics", view_func=self._scrape)

    def add_recent_activity(self, reader: RecentActivityReader) -> None:
        """Add the age of the last commit to the recent activity."""
        self._recent_reader = reader
        self._recent_age = Gauge(
            "marquee_recent_age_seconds",
            "Time since the last commit to the recent activity; infinite where it cannot be read.",
            registry=self._registry,
            multiprocess_mode="mostrecent",
        )

    def _add_model_metrics(self, registry: CollectorRegistry, manifest: Manifest) -> None:
        info = Gauge(
            "marquee_model_info",
            "1, with version and hash of the served model as labels.",
            ["version", "model_hash"],
            registry=registry,
            multiprocess_mode="max",
        )
        info.labels(str(manifest.version), manifest.model_hash[:12]).set(1)
        self._model_created = datetime.fromisoformat(manifest.created).timestamp()
        self._model_age = Gauge(
            "marquee_model_age_seconds",
            "Time since the served model was trained.",
            registry=registry,
            multiprocess_mode="mostrecent",
        )

    def _add_process_metrics(self, registry: CollectorRegistry, spool: Path) -> None:
        """Add the start of gunicorn's first process, and the free space of the spool's volume."""
        start = Gauge(
            "process_start_time_seconds",
            "Start time of the process since unix epoch in seconds.",
            registry=registry,
            multiprocess_mode="max",
        )
        start.set(time.time())
        self._spool = spool
        self._free_bytes, self._size_bytes = (
            Gauge(
                *description, ["volume"], registry=registry, multiprocess_mode="mostrecent"
            ).labels("spool")
            for description in (FREE_BYTES, SIZE_BYTES)
        )

    def _scrape(self) -> Response:
        # The exporter's own route also takes `?name[]=`, which fails in multiprocess mode.
        self._model_age.set(max(0.0, time.time() - self._model_created))
        if volume := measure_volume(self._spool):
            self._free_bytes.set(volume.free)
            self._size_bytes.set(volume.size)
        if self._recent_age and self._recent_reader:
            age = self._recent_reader.age_seconds
            self._recent_age.set(inf if age is None else age)
        text, content_type = self._exporter.generate_metrics(request.headers.get("Accept"))
        return Response(text, content_type=content_type)


class RequestMetrics:
    """Number and latency of requests, with the names and labels of prometheus-flask-exporter.

    The exporter's own hooks look up labels by keyword at each request, through locks and proxies:
    28 of the 70 microseconds of a constant response (`docs/benchmarks-requests.md`). This class
    caches the labelled metrics of each combination of method, endpoint and status. It also counts
    recommendation requests when they start.
    """

    def __init__(self, registry: CollectorRegistry, version: str) -> None:
        self._version = version
        self._duration_seconds = Histogram(
            "flask_http_request_duration_seconds",
            "Flask HTTP request duration in seconds",
            ["method", "url_rule", "status", "version"],
            buckets=LATENCY_BUCKETS_SECONDS,
            registry=registry,
        )
        self._total = Counter(
            "flask_http_request_total",
            "Total number of HTTP requests",
            ["method", "status", "version"],
            registry=registry,
        )
        # Started minus finished requests are those that were never answered: a worker that is
        # killed at a request leaves no other trace. Its counts stay (`metrics_directory`).
        self._started = Counter(
            "marquee_requests_started_total",
            "Recommendation requests whose processing began, counted before it.",
            ["version"],
            registry=registry,
        ).labels(version)
        # Bounded: known methods, our endpoints, the statuses that these return.
        self._labelled: dict[tuple[str, str | None, int], tuple[Histogram, Counter]] = {}
        # Start at zero: Prometheus' `increase` misses the first count of a new series.
        for status in (200, 500):
            self._add_labels(("GET", _RECOMMEND_ENDPOINT, status), "/recommend/<user_id>")

    def init_app(self, app: Flask) -> None:
        """Measure from the first hook of a request to its last."""
        app.before_request(self._start)
        app.after_request(self._finish)

    def _start(self) -> None:
        current: Request = request._get_current_object()  # type: ignore[attr-defined]
        current.environ[START] = perf_counter()
        rule = current.url_rule
        # The same requests as those of this route that `_finish` counts.
        if rule and rule.endpoint == _RECOMMEND_ENDPOINT and current.method in _METHODS:
            self._started.inc()

    def _finish(self, response: Response) -> Response:
        current: Request = request._get_current_object()  # type: ignore[attr-defined]
        rule = current.url_rule
        endpoint = rule.endpoint if rule else None
        if endpoint in _UNCOUNTED_ENDPOINTS or current.method not in _METHODS:
            return response
        key = (current.method, endpoint, response.status_code)
        labelled = self._labelled.get(key) or self._add_labels(key, str(rule))
        labelled[0].observe(perf_counter() - current.environ[START])
        labelled[1].inc()
        return response

    def _add_labels(self, key: tuple[str, str | None, int], rule: str) -> tuple[Histogram, Counter]:
        method, _, status = key
        labelled = (
            self._duration_seconds.labels(method, rule, str(status), self._version),
            self._total.labels(method, str(status), self._version),
        )
        self._labelled[key] = labelled
        return labelled
