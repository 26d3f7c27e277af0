"""Latency and number of requests, with the names and labels of prometheus-flask-exporter.

The exporter's own hooks look labels up by keyword for every request, through locks and proxies:
28 of a constant answer's 70 microseconds (`docs/benchmarks-requests.md`). These keep, for each
combination of method, route and status, the two metrics it adds to.
"""

from time import perf_counter

from flask import Flask, Request, Response
from flask.globals import request
from prometheus_client import CollectorRegistry, Counter, Histogram

#: Buckets of the request latency, in seconds. The edge's limit for one try joins them, so that
#: the share of answers beyond it can be read exactly. 0.5 is the limit of the canary's verdict,
#: 0.6 where clients give up.
_BUCKETS = {0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.2, 0.3, 0.5, 0.6, 1.0, 2.5}

#: Probes are not requests: six a minute would be judged as fast answers.
_NOT_COUNTED = frozenset({"health.health", "health.ready", "metrics"})

#: A label must not take whatever method a stranger makes up.
_METHODS = frozenset(
    {"GET", "HEAD", "POST", "PUT", "DELETE", "OPTIONS", "PATCH", "TRACE", "CONNECT"}
)

#: Where the environment of a request keeps when it began (`perf_counter`).
START = "marquee.start"


class RequestMetrics:
    """Counts and times every request of an application."""

    def __init__(self, registry: CollectorRegistry, version: str, edge_try_seconds: float) -> None:
        self._version = version
        self._seconds = Histogram(
            "flask_http_request_duration_seconds",
            "Flask HTTP request duration in seconds",
            ["method", "url_rule", "status", "version"],
            buckets=sorted(_BUCKETS | {edge_try_seconds}),
            registry=registry,
        )
        self._total = Counter(
            "flask_http_request_total",
            "Total number of HTTP requests",
            ["method", "status", "version"],
            registry=registry,
        )
        # Bounded: known methods, our own endpoints, the statuses these answer.
        self._kept: dict[tuple[str, str | None, int], tuple[Histogram, Counter]] = {}
        # Shown from the start as zero: Prometheus sees no increase in what first appears as one.
        for status in (200, 500):
            self._keep(("GET", "recommend.recommend", status), "/recommend/<user_id>")

    def init_app(self, app: Flask) -> None:
        """Measure from the first hook of a request to its last."""
        app.before_request(self._start)
        app.after_request(self._finish)

    def _start(self) -> None:
        request.environ[START] = perf_counter()

    def _finish(self, response: Response) -> Response:
        asked: Request = request._get_current_object()  # type: ignore[attr-defined]
        rule = asked.url_rule
        endpoint = rule.endpoint if rule else None
        if endpoint in _NOT_COUNTED or asked.method not in _METHODS:
            return response
        key = (asked.method, endpoint, response.status_code)
        kept = self._kept.get(key) or self._keep(key, str(rule))
        kept[0].observe(perf_counter() - asked.environ[START])
        kept[1].inc()
        return response

    def _keep(self, key: tuple[str, str | None, int], rule: str) -> tuple[Histogram, Counter]:
        method, _, status = key
        kept = (
            self._seconds.labels(method, rule, str(status), self._version),
            self._total.labels(method, str(status), self._version),
        )
        self._kept[key] = kept
        return kept
