"""The measurements: everything twice or more, peers in turn, so that a ratio is of one moment."""

import statistics
import urllib.request
from collections import defaultdict
from collections.abc import Iterable, Sequence
from contextlib import ExitStack
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from bench.requests import load
from bench.requests.baseline_constant import LENGTH
from bench.requests.model import some_users
from bench.requests.servers import Server, serving

PEERS = ("constant", "marquee", "constant-plain")
#: Users drawn for each run of the load: more than are asked for in it.
DRAWN = 60_000
#: A p99 is what the machine's other work makes of it: more pairs than of anything else.
LATENCY_PAIRS = 3
Samples = dict[str, dict[str, list[float]]]


@dataclass(frozen=True)
class Spread:
    """Median and range of one figure over all rounds."""

    median: float
    low: float
    high: float

    @classmethod
    def of(cls, values: Iterable[float]) -> "Spread":
        """Of one figure of each round."""
        ordered = sorted(values)
        return cls(statistics.median(ordered), ordered[0], ordered[-1])

    def rounded(self) -> dict[str, float]:
        """For JSON."""
        return {name: round(value, 4) for name, value in asdict(self).items()}


def ratio(samples: Samples, figure: str, name: str, to: str = "constant") -> Spread:
    """Of one peer to another, each pair from one round."""
    pairs = zip(samples[figure][name], samples[figure][to], strict=False)
    return Spread.of(one / other for one, other in pairs)


def rounds(models: dict[str, Path], count: int, seconds: float) -> Samples:
    """`start` (seconds), `peak` (requests a second), `p50` and `p99` (ms) of each round.

    Each round has fresh servers, started and asked in the opposite order each time. The naive peer
    takes part in the first two rounds, and only in `start` and `peak`.
    """
    samples: Samples = defaultdict(lambda: defaultdict(list))
    for number in range(count):
        names = [*PEERS, "naive"] if number < 2 else [*PEERS]
        _round(models, names[:: 1 - 2 * (number % 2)], number, seconds, samples)
    return samples


def _round(
    models: dict[str, Path], names: Sequence[str], number: int, seconds: float, samples: Samples
) -> None:
    with ExitStack() as stack:
        servers: dict[str, Server] = {}
        for name in names:
            servers[name] = stack.enter_context(serving(name, models[name]))
            samples["start"][name].append(servers[name].seconds_to_ready)
        for name in names:
            _check(servers[name], models[name])
            load.peak(servers[name].url, some_users(models[name], DRAWN, 1000 + number), 1)
        for name in names:
            users = some_users(models[name], DRAWN, 2 * number)
            samples["peak"][name].append(load.peak(servers[name].url, users, seconds))
        pair = {name: servers[name] for name in names if name in ("constant", "marquee")}
        half = samples["peak"]["constant"][-1] / 2
        for attempt in range(LATENCY_PAIRS):
            for name, server in pair.items():
                users = some_users(models[name], DRAWN, 100 * number + attempt)
                times = load.constant_rate(server.url, users, seconds, half)
                for figure, milliseconds in times.items():
                    samples[figure][name].append(milliseconds)


def memory(model: Path, name: str, seconds: float) -> float:
    """MB that a worker has for itself once two of them have answered: the larger of the two.

    With one worker the pages of the lists would count as its own, though they are the kernel's
    cache: nobody else has them mapped.
    """
    with serving(name, model, workers=2) as server:
        for seed in range(2):  # new connections each time: both workers get some
            load.peak(server.url, some_users(model, DRAWN, seed), seconds)
        return max(server.private_mb())


def _check(server: Server, model: Path) -> None:
    """All peers answer as many movies, and ours are the user's own."""
    user = some_users(model, 1, 0)[0]
    with urllib.request.urlopen(f"{server.url}/recommend/{user}", timeout=30) as answer:
        movies, headers = answer.read().decode().split(","), answer.headers
    source = headers.get("X-Recommendation-Source", "personal")
    assert (len(movies), source) == (LENGTH, "personal"), "a peer that answers something else"


def summary(samples: Samples) -> dict[str, dict[str, Any]]:
    """Every figure of every peer as a `Spread`, for JSON."""
    return {
        figure: {name: Spread.of(values).rounded() for name, values in peers.items()}
        for figure, peers in samples.items()
    }
