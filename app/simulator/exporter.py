"""Prometheus metrics of a running simulation, collected from its state at each scrape."""

from collections.abc import Iterator
from contextlib import contextmanager

from prometheus_client import CollectorRegistry
from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily, HistogramMetricFamily
from prometheus_client.metrics_core import Metric
from prometheus_client.registry import Collector

from app.http_server import BackgroundServer, create_app
from app.simulator.log_writer import REJECTED_PREFIX
from app.simulator.responses import OUTCOMES
from app.simulator.simulation import Simulation
from app.simulator.utility_metrics import UTILITIES

_BUCKETS_MS = (1, 2, 5, 10, 25, 50, 100, 200, 300, 450, 550, 600, 1000)
_PREFIX = "marquee_simulator_"


@contextmanager
def metrics_server(simulation: Simulation, bind: str | None) -> Iterator[None]:
    """Serve `/metrics` and `/health` at `host:port` inside the block; without one, do nothing.

    Raises:
        OSError: the address is in use or does not exist.
    """
    if bind is None:
        yield
        return
    registry = CollectorRegistry()
    registry.register(SimulatorMetrics(simulation))
    try:
        server = BackgroundServer(bind, create_app(registry, is_alive=lambda: True))
    except OSError as error:
        raise OSError(f"cannot listen at {bind}: {error}") from error
    try:
        yield
    finally:
        server.stop()


class SimulatorMetrics(Collector):
    """The metrics of one simulation."""

    def __init__(self, simulation: Simulation) -> None:
        self._simulation = simulation

    def collect(self) -> Iterator[Metric]:
        """Yield all metrics."""
        yield from self._request_metrics()
        yield from self._log_metrics()
        yield from self._utility_metrics()
        sessions = self._simulation.watch_sessions
        yield GaugeMetricFamily(
            f"{_PREFIX}simulated_seconds", "Simulated time since the start.", sessions.now
        )
        yield GaugeMetricFamily(
            f"{_PREFIX}active_watch_sessions", "Users who are watching a movie.", sessions.active
        )

    def _request_metrics(self) -> Iterator[Metric]:
        stats = self._simulation.request_stats
        outcomes = CounterMetricFamily(
            f"{_PREFIX}requests", "Valid requests by outcome.", labels=["outcome"]
        )
        for outcome in OUTCOMES:
            outcomes.add_metric([outcome], stats.outcomes[outcome])
        yield outcomes
        yield CounterMetricFamily(
            f"{_PREFIX}invalid_requests", "Requests without a valid user id.", stats.invalid
        )
        recommendations = CounterMetricFamily(
            f"{_PREFIX}recommendations",
            "Requests with outcome ok by model version.",
            labels=["version"],
        )
        for version, count in list(stats.versions.items()):
            recommendations.add_metric([version], count)
        yield recommendations
        yield self._duration_histogram()
        yield GaugeMetricFamily(
            f"{_PREFIX}max_send_delay_seconds",
            "Longest time between the due time of a request and sending it.",
            stats.max_send_delay_seconds,
        )

    def _duration_histogram(self) -> Metric:
        durations = list(self._simulation.request_stats.durations_ms.items())
        buckets = [
            (str(bound / 1000), float(sum(count for ms, count in durations if ms <= bound)))
            for bound in _BUCKETS_MS
        ]
        return HistogramMetricFamily(
            f"{_PREFIX}request_duration_seconds",
            "Time from sending a valid request to its response or its cancellation.",
            [*buckets, ("+Inf", float(sum(count for _, count in durations)))],
            sum_value=sum(ms * count for ms, count in durations) / 1000,
        )

    def _log_metrics(self) -> Iterator[Metric]:
        log_writer = self._simulation.log_writer
        valid = CounterMetricFamily(
            f"{_PREFIX}log_lines", "Valid log lines by kind.", labels=["kind"]
        )
        rejected = CounterMetricFamily(
            f"{_PREFIX}rejected_log_lines",
            "Log lines that a reader must reject, by reason.",
            labels=["reason"],
        )
        for label, count in list(log_writer.counts.items()):
            if label.startswith(REJECTED_PREFIX):
                rejected.add_metric([label.removeprefix(REJECTED_PREFIX)], count)
            else:
                valid.add_metric([label], count)
        yield valid
        yield rejected
        yield CounterMetricFamily(
            f"{_PREFIX}lost_log_lines",
            "Log lines that could not be delivered.",
            log_writer.lost().total(),
        )

    def _utility_metrics(self) -> Iterator[Metric]:
        choices = CounterMetricFamily(
            f"{_PREFIX}choices",
            "Choices with a recommended movie new to the user, by model version.",
            labels=["version"],
        )
        utility = GaugeMetricFamily(
            f"{_PREFIX}mean_utility",
            "Mean true utility by model version, of the recommended movie, of the organic one ...",
            labels=["version", "movie"],
        )
        for version, means in self._simulation.utility_metrics.by_version().items():
            choices.add_metric([version], means["choices"])
            for name in UTILITIES:
                utility.add_metric([version, name], means[name])
        yield choices
        yield utility
