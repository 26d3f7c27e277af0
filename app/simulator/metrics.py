"""What Prometheus learns of a run: counts and the truth, read when it asks."""

from collections.abc import Iterator

from prometheus_client import CollectorRegistry, start_http_server
from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily, HistogramMetricFamily
from prometheus_client.metrics_core import Metric
from prometheus_client.registry import Collector

from app.simulator.log_writer import DAMAGED
from app.simulator.responses import OUTCOMES
from app.simulator.simulation import Simulation

_BUCKETS_MS = (1, 2, 5, 10, 25, 50, 100, 200, 300, 450, 550, 600, 1000)
_PREFIX = "marquee_simulator_"
_UTILITIES = ("recommended", "listed", "unaided", "chosen", "best")


class SimulatorMetrics(Collector):
    """The metrics of one run."""

    def __init__(self, simulation: Simulation) -> None:
        self._simulation = simulation

    def collect(self) -> Iterator[Metric]:
        """All of them."""
        yield from self._requests()
        yield from self._stream()
        yield from self._truth()
        yield GaugeMetricFamily(
            f"{_PREFIX}time_seconds",
            "The world's time, in seconds since its start.",
            self._simulation.viewing.now,
        )
        yield GaugeMetricFamily(
            f"{_PREFIX}watching", "People who watch a movie.", self._simulation.viewing.watching
        )

    def _requests(self) -> Iterator[Metric]:
        seen = self._simulation.availability
        outcomes = CounterMetricFamily(
            f"{_PREFIX}requests", "Valid requests, by what came of them.", labels=["outcome"]
        )
        for outcome in OUTCOMES:
            outcomes.add_metric([outcome], seen.outcomes[outcome])
        yield outcomes
        yield CounterMetricFamily(
            f"{_PREFIX}invalid_requests", "Requests without a user id.", seen.invalid
        )
        versions = CounterMetricFamily(
            f"{_PREFIX}answers", "Requests answered well, by model version.", labels=["version"]
        )
        for version, count in list(seen.versions.items()):
            versions.add_metric([version], count)
        yield versions
        took = list(seen.milliseconds.items())
        buckets = [
            (str(edge / 1000), float(sum(count for ms, count in took if ms <= edge)))
            for edge in _BUCKETS_MS
        ]
        yield HistogramMetricFamily(
            f"{_PREFIX}answer_seconds",
            "Time from sending a valid request to its answer, or to giving it up.",
            [*buckets, ("+Inf", float(sum(count for _, count in took)))],
            sum_value=sum(ms * count for ms, count in took) / 1000,
        )
        yield GaugeMetricFamily(
            f"{_PREFIX}behind_seconds",
            "Most that a request was sent later than it was due.",
            seen.behind,
        )

    def _stream(self) -> Iterator[Metric]:
        stream = self._simulation.stream
        kinds = CounterMetricFamily(
            f"{_PREFIX}lines", "Lines made, by what a reader must find in them.", labels=["kind"]
        )
        damaged = CounterMetricFamily(
            f"{_PREFIX}damaged_lines", "Lines a reader must refuse, by reason.", labels=["reason"]
        )
        for label, count in list(stream.counts.items()):
            if label.startswith(DAMAGED):
                damaged.add_metric([label.removeprefix(DAMAGED)], count)
            else:
                kinds.add_metric([label], count)
        yield kinds
        yield damaged
        yield CounterMetricFamily(
            f"{_PREFIX}lost_lines",
            "Lines that did not reach the stream.",
            sum(output.lost.total() for output in stream.outputs),
        )

    def _truth(self) -> Iterator[Metric]:
        choices = CounterMetricFamily(
            f"{_PREFIX}choices", "Choices whose worth is known, by version.", labels=["version"]
        )
        utility = GaugeMetricFamily(
            f"{_PREFIX}utility_mean",
            "Mean true utility by version, of the movie recommended, found unaided, and so on.",
            labels=["version", "of"],
        )
        for version, means in self._simulation.truth.versions().items():
            choices.add_metric([version], means["choices"])
            for name in _UTILITIES:
                utility.add_metric([version, name], means[name])
        yield choices
        yield utility


def serve_metrics(simulation: Simulation, bind: str) -> None:
    """Answer Prometheus at `host:port`, in a thread of its own.

    Raises:
        OSError: the port is taken.
    """
    registry = CollectorRegistry()
    registry.register(SimulatorMetrics(simulation))
    host, _, port = bind.rpartition(":")
    start_http_server(int(port), host, registry)
