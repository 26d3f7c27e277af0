"""Twenty readers of the console beside the service: no request fails; what they cost is printed."""

import itertools
import threading
import time
from collections.abc import Callable
from functools import partial

import pytest
import requests

from tests.support.browser import ADDRESSES
from tests.support.load import Result, attack
from tests.support.soak import soak_only
from tests.support.stack import CONSOLE, URL, Stack
from tests.support.waiting import eventually

pytestmark = [soak_only, pytest.mark.timeout(1500)]

READERS = 20
#: Between two pages of a reader; a page that is left open is requested every ten seconds.
PAUSE_SECONDS = 1.0
SECONDS, RATE, USERS = 60, 100, range(2000)
#: Whether there are readers in each span: first and last without, so that a drift of the machine
#: counts for both alike.
SPANS = (False, True, True, False)
PAGES = [address for name, address in ADDRESSES.items() if name not in ("actions", "error")]


class Readers:
    """Read the pages in turn; count those that were read, and those that failed."""

    def __init__(self) -> None:
        self.seconds: list[float] = []
        self.failures: list[str] = []

    def read_for(self, seconds: float) -> None:
        """Read with all readers for some seconds."""
        end = time.monotonic() + seconds
        threads = [
            threading.Thread(target=self._read, args=(number, end)) for number in range(READERS)
        ]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()

    def _read(self, number: int, end: float) -> None:
        with requests.Session() as session:
            for address in itertools.islice(itertools.cycle(PAGES), number, None):
                start = time.monotonic()
                if start >= end:
                    return
                try:
                    session.get(CONSOLE + address, timeout=30).raise_for_status()
                    self.seconds.append(time.monotonic() - start)
                except requests.RequestException as error:
                    self.failures.append(f"{address}: {error}")
                time.sleep(PAUSE_SECONDS)


def test_readers_of_the_console_fail_no_request(
    stack: Stack, record_measurement: Callable[[str], None]
) -> None:
    eventually(lambda: requests.get(CONSOLE, timeout=10).ok, 120, "the console")
    readers = Readers()
    results: dict[bool, list[Result]] = {False: [], True: []}
    for has_readers in SPANS:
        during = partial(readers.read_for if has_readers else time.sleep, SECONDS)
        result = attack(URL, USERS, RATE, SECONDS + 60, during, stop_early=True)
        results[has_readers].append(result)
    p99 = {kind: join_latencies(spans).percentile(0.99) for kind, spans in results.items()}
    pages = Result(latencies=readers.seconds)
    record_measurement(
        f"{READERS} readers of the console, {len(readers.seconds)} pages in "
        f"{SPANS.count(True) * SECONDS} s (p50 {pages.percentile(0.5) * 1000:.0f} ms, "
        f"p99 {pages.percentile(0.99) * 1000:.0f} ms): p99 of {RATE} recommendations/s "
        f"{p99[True] * 1000:.1f} ms, without readers {p99[False] * 1000:.1f} ms, "
        f"ratio {p99[True] / p99[False]:.2f}"
    )
    for kind, spans in results.items():
        record_measurement(
            f"  {'with' if kind else 'without'} readers: {'; '.join(map(str, spans))}"
        )
    assert readers.failures == []
    assert sum(result.failed for result in results[True]) == 0, results[True]


def join_latencies(results: list[Result]) -> Result:
    """Return the latencies of several runs as those of one."""
    return Result(latencies=[seconds for result in results for seconds in result.latencies])
