"""The measurements. Servers take turns in every round, so that ratios are of the same moment."""

import statistics
import urllib.request
from collections import defaultdict
from collections.abc import Iterable, Sequence
from contextlib import AbstractContextManager, ExitStack
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from bench.requests import load
from bench.requests.baseline_constant import LENGTH
from bench.requests.model import RECENT_USERS, ROOT, Ids, sample_users
from bench.requests.servers import Server, serving

SERVERS = ("constant", "marquee", "marquee-recent", "marquee-off", "constant-plain")
#: Servers whose latency is measured at half of the peak of the constant response.
_LATENCIES = ("constant", "marquee", "marquee-recent")
#: Users sampled for each second of load: more than it requests.
USERS_PER_SECOND = 20_000
#: Longest load before a measurement, in seconds.
_WARM_UP_SECONDS = 1.0
#: Metric -> server -> one value per run.
Samples = dict[str, dict[str, list[float]]]


@dataclass(frozen=True)
class Spread:
    """Median and range of a metric over all rounds."""

    median: float
    low: float
    high: float

    @classmethod
    def of(cls, values: Iterable[float]) -> "Spread":
        """Summarize one value per run."""
        ordered = sorted(values)
        return cls(statistics.median(ordered), ordered[0], ordered[-1])

    def rounded(self) -> dict[str, float]:
        """Round to four digits, for JSON."""
        return {name: round(value, 4) for name, value in asdict(self).items()}


def ratio(samples: Samples, metric: str, name: str, baseline: str = "constant") -> Spread:
    """Ratio of a server's metric to that of a baseline in the same run."""
    pairs = zip(samples[metric][name], samples[metric][baseline], strict=False)
    return Spread.of(value / base for value, base in pairs)


@dataclass(frozen=True)
class Inputs:
    """What the servers read.

    Attributes:
        models: model directory of each server.
        recent: directory of the recent activity of each server that reads one.
        before: clone whose code the server `before` runs; None: there is no such server.
    """

    models: dict[str, Path]
    recent: dict[str, Path]
    before: Path | None = None

    def serve(self, name: str, workers: int = 1) -> AbstractContextManager[Server]:
        """Run a server."""
        tree = self.before if name == "before" and self.before else ROOT
        return serving(name, self.models[name], workers, self.recent.get(name), tree)

    def servers(self, number: int) -> list[str]:
        """Return the servers of a round; the naive baseline takes part in the first two."""
        before = ["before"] if self.before else []
        return [*SERVERS, *before, *(["naive"] if number < 2 else [])]

    def sample(self, name: str, seconds: float, seed: int) -> Ids:
        """Sample known users for seconds of load; for one server only those with recent events."""
        limit = RECENT_USERS if name == "marquee-recent" else None
        count = round(USERS_PER_SECOND * seconds)
        return sample_users(self.models[name], count, seed, limit)


def run_rounds(inputs: Inputs, count: int, seconds: float, latency_runs: int = 3) -> Samples:
    """Measure `start_seconds`, `peak_rps`, `p50_ms` and `p99_ms` of each server in each round.

    Each round starts new servers, in the opposite order of the round before. The naive baseline
    takes part only in `start_seconds` and `peak_rps`. Latencies are measured several times per
    round, because p99 varies with the machine's other load.
    """
    samples: Samples = defaultdict(lambda: defaultdict(list))
    for number in range(count):
        names = inputs.servers(number)
        _run_round(inputs, names[:: 1 - 2 * (number % 2)], number, seconds, latency_runs, samples)
    return samples


def _run_round(
    inputs: Inputs,
    names: Sequence[str],
    number: int,
    seconds: float,
    latency_runs: int,
    samples: Samples,
) -> None:
    with ExitStack() as stack:
        servers: dict[str, Server] = {}
        for name in names:
            servers[name] = stack.enter_context(inputs.serve(name))
            samples["start_seconds"][name].append(servers[name].seconds_to_ready)
        for name in names:
            _check(servers[name], inputs, name)
            warm_up = min(seconds, _WARM_UP_SECONDS)
            users = inputs.sample(name, warm_up, 1000 + number)
            load.peak(servers[name].url, users, warm_up)
        for name in names:
            users = inputs.sample(name, seconds, 2 * number)
            samples["peak_rps"][name].append(load.peak(servers[name].url, users, seconds))
        pair = {name: servers[name] for name in names if name in _LATENCIES}
        half = samples["peak_rps"]["constant"][-1] / 2
        for run in range(latency_runs):
            for name, server in pair.items():
                users = inputs.sample(name, seconds, 100 * number + run)
                latencies = load.constant_rate(server.url, users, seconds, half)
                for metric, milliseconds in latencies.items():
                    samples[metric][name].append(milliseconds)


def worker_memory_mb(inputs: Inputs, name: str, seconds: float) -> float:
    """Private memory in MB of a worker under load: the larger of two workers.

    With a single worker the mapped lists would count as private, because no other process maps
    the same pages.
    """
    with inputs.serve(name, workers=2) as server:
        for seed in range(2):  # new connections each time, so that both workers get some
            load.peak(server.url, inputs.sample(name, seconds, seed), seconds)
        return max(server.private_mb())


def _check(server: Server, inputs: Inputs, name: str) -> None:
    """Check that a server returns the full number of movies, from the expected source."""
    user = inputs.sample(name, 0.1, 0)[0]
    expected = "recent" if name == "marquee-recent" else "personal"
    with urllib.request.urlopen(f"{server.url}/recommend/{user}", timeout=30) as response:
        movies, headers = response.read().decode().split(","), response.headers
    source = headers.get("X-Recommendation-Source", expected)
    assert (len(movies), source) == (LENGTH, expected), "an unexpected response"


def summarize(samples: Samples) -> dict[str, dict[str, Any]]:
    """Every metric of every server as a `Spread`, for JSON."""
    return {
        metric: {name: Spread.of(values).rounded() for name, values in servers.items()}
        for metric, servers in samples.items()
    }
