"""The cells of the table: kinds of releases, and what is required of the verdict."""

from dataclasses import dataclass, replace

from bench.operating_curves.streams import Stream

HEALTHY, MARGIN, BAD = "healthy", "margin", "bad"
#: Simulated releases of a cell by its group.
RELEASES = {HEALTHY: 10_000, MARGIN: 10_000, BAD: 1000}
RATES = (0.5, 4.0, 40.0, 400.0)
_TRAFFIC = ("steady", "daily", "bursty")


@dataclass(frozen=True)
class Cell:
    """One kind of release.

    Attributes:
        name: unique.
        group: `healthy` (to be aborted in at most 1 %), `margin` (to be promoted in at most 1 %) or
            `bad` (as `margin`, and to be aborted).
        stream: what is simulated.
    """

    name: str
    group: str
    stream: Stream


def list_cells() -> list[Cell]:
    """Return all cells in the order in which they are computed."""
    cells = [*_healthy(), *_bursts(), *_margins(), *_bad()]
    names = [cell.name for cell in cells]
    assert len(set(names)) == len(names)
    return cells


def _healthy() -> list[Cell]:
    cells = [
        Cell(f"healthy, {traffic}, {rate:g}/s", HEALTHY, Stream(rate=rate, traffic=traffic))
        for traffic in _TRAFFIC
        for rate in RATES
    ]
    for minutes in (73, 720):
        cells.append(
            Cell(
                f"healthy, 3,500 requests in {minutes} min",
                HEALTHY,
                Stream(requests=3500, minutes=minutes, client_errors=0.0),
            )
        )
    special = {
        "3,500 requests, 4xx 0.1 %": Stream(requests=3500, minutes=73),
        "3,500 requests, median 20 ms": Stream(
            requests=3500, minutes=73, client_errors=0.0, median_ms=20
        ),
        "missing scrapes 5 %": Stream(missing=0.05),
        "missing scrapes 5 %, 0.5/s": Stream(rate=0.5, missing=0.05),
        "three restarts": Stream(restarts=3),
        "failures at the tolerance": Stream(canary_failures=0.0025),
        "failures at the tolerance, 400/s": Stream(rate=400, canary_failures=0.0025),
        "10 % slower, 400/s": Stream(rate=400, slower=1.1),
        "10 % slower than 20 ms, 400/s": Stream(rate=400, slower=1.1, median_ms=20),
        "cold start, 400/s": Stream(rate=400, cold_minutes=3),
        "cold start, 20 ms, 400/s": Stream(rate=400, cold_minutes=3, median_ms=20),
        "popular + 5 points": Stream(canary_popular=0.35),
    }
    return cells + [Cell(f"healthy, {name}", HEALTHY, stream) for name, stream in special.items()]


def _bursts() -> list[Cell]:
    return [
        Cell(
            f"healthy, bursts {minutes} min x {share:.0%}, {'all' if together else 'one'} slot"
            f"{'s' if together else ''}, {rate:g}/s",
            HEALTHY,
            Stream(
                rate=rate,
                burst_minutes=minutes,
                burst_failures=share,
                bursts_together=together,
            ),
        )
        for rate in (0.5, 4.0, 400.0)
        for minutes in (1, 3, 10)
        for share in (0.05, 0.15, 0.3)
        for together in (False, True)
    ]


def _margins() -> list[Cell]:
    base = {
        "failures": {"canary_failures": 0.005},
        "4xx": {"canary_client_errors": 0.005},
        "unanswered": {"canary_unanswered": 0.003},
        "popular": {"canary_popular": 0.4},
        "latency x 2 of 20 ms": {"slower": 2.0, "median_ms": 20.0},
        "latency x 2 of 60 ms": {"slower": 2.0, "median_ms": 60.0},
    }
    cells = [
        Cell(f"margin, {name}, {rate:g}/s", MARGIN, replace(Stream(rate=rate), **effect))  # type: ignore[arg-type]
        for name, effect in base.items()
        for rate in (4.0, 400.0)
    ]
    cells += [
        Cell(
            f"margin, {name}, 3,500 requests",
            MARGIN,
            replace(Stream(requests=3500, minutes=73), **effect),  # type: ignore[arg-type]
        )
        for name, effect in base.items()
    ]
    for minutes, share, together in ((1, 0.05, False), (10, 0.3, False), (10, 0.3, True)):
        mean = 0.001 + 0.02 * share
        stream = Stream(
            burst_minutes=minutes,
            burst_failures=share,
            bursts_together=together,
            canary_failures=0.001 + 0.003 + mean,
        )
        where = "all slots" if together else "one slot"
        name = f"margin, failures, bursts {minutes} min x {share:.0%}, {where}"
        cells.append(Cell(name, MARGIN, stream))
    return cells


def _bad() -> list[Cell]:
    effects: dict[str, dict[str, float]] = {
        "failures 0.9 % against 0.01 %": {"canary_failures": 0.009, "failures": 0.0001},
        "failures 0.7 %": {"canary_failures": 0.007},
        "failures 1 %": {"canary_failures": 0.01},
        "failures 2 %": {"canary_failures": 0.02},
        "failures 5 %": {"canary_failures": 0.05},
        "failures 100 %": {"canary_failures": 1.0},
        "4xx 1 %": {"canary_client_errors": 0.01},
        "4xx 5 %": {"canary_client_errors": 0.05},
        "4xx 30 %": {"canary_client_errors": 0.3},
        "one request in fifty kills its worker": {"canary_unanswered": 0.02},
        "one request in 200 kills its worker": {"canary_unanswered": 0.005},
        "latency x 4 of 3 ms": {"slower": 4.0},
        "latency x 3 of 20 ms": {"slower": 3.0, "median_ms": 20.0},
        "latency x 500": {"slower": 500.0},
        "latency x 100 in 5 % of minutes": {"slow_minutes": 0.05, "slow_factor": 100.0},
        "2 % of requests x 50": {"tail": 0.02, "tail_factor": 50.0},
        "popular + 15 points": {"canary_popular": 0.45},
        "popular + 30 points": {"canary_popular": 0.6},
    }
    return [
        Cell(f"bad, {name}, {rate:g}/s", BAD, replace(Stream(rate=rate), **effect))  # type: ignore[arg-type]
        for name, effect in effects.items()
        for rate in RATES
    ]
