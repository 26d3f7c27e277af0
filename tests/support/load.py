"""The one load driver of suites and benchmarks: vegeta, with a constant rate of arrivals.

Requests are sent on time whether or not earlier ones were answered, as the simulator does, so
that a stall shows as late answers and not as fewer requests. Aimed at loopback alone.
"""

import json
import signal
import subprocess
import threading
from collections import Counter
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from tests.conftest import ROOT

IMAGE = "marquee/loadgen:12.13.0"
BINARY = ROOT / "build" / "vegeta"
LIMIT_SECONDS = 0.6


@dataclass
class Result:
    """What became of the requests that were sent."""

    sent: int = 0
    ok: int = 0
    failures: Counter[str] = field(default_factory=Counter)
    latencies: list[float] = field(default_factory=list)
    slots: Counter[str] = field(default_factory=Counter)

    @property
    def failed(self) -> int:
        """Requests without a 200 within the limit."""
        return self.sent - self.ok

    def percentile(self, share: float) -> float:
        """Seconds within which this share of the requests was answered."""
        ordered = sorted(self.latencies)
        return ordered[min(len(ordered) - 1, int(share * len(ordered)))]

    def __str__(self) -> str:
        times = ", ".join(f"p{p}: {self.percentile(p / 100) * 1000:.1f} ms" for p in (50, 99))
        return f"{self.sent} sent, {self.failed} failed {dict(self.failures)}, {times}"


def binary() -> Path:
    """The driver's program, copied once out of its image."""
    if not BINARY.exists():
        BINARY.parent.mkdir(exist_ok=True)
        made = subprocess.run(
            ["docker", "create", IMAGE], capture_output=True, text=True, check=True
        ).stdout.strip()
        try:
            subprocess.run(
                ["docker", "cp", f"{made}:/usr/local/bin/vegeta", str(BINARY)],
                check=True,
                capture_output=True,
            )
        finally:
            subprocess.run(["docker", "rm", made], check=True, capture_output=True)
    return BINARY


def attack(
    url: str,
    users: Iterable[int],
    rate: int,
    seconds: float,
    during: Callable[[], object] | None = None,
    each: Callable[[dict[str, Any]], object] | None = None,
    *,
    stop: bool = False,
) -> Result:
    """Ask for users in turn at a constant rate; `during` runs once the load is on its way.

    Args:
        url: of the service, without a path; must be a loopback address.
        users: asked for again from the first when all were asked.
        rate: requests a second.
        seconds: how long new requests are sent; `during` must have returned by then.
        during: called in a thread of its own; what it raises is raised here.
        each: called with every answer as the driver tells it, its body among it.
        stop: end the load when `during` has returned; `seconds` are then only a bound.
    """
    assert url.startswith("http://127.0.0.1:"), "load is aimed at loopback alone"
    targets = "".join(f"GET {url}/recommend/{user}\n" for user in users)
    result = Result()
    failure: list[BaseException] = []
    attacker, encoder = _start(targets, rate, seconds, body_bytes=-1 if each else 0)

    def disturb() -> None:
        _guard(during, failure)
        if stop:
            attacker.send_signal(signal.SIGINT)

    busy = threading.Thread(target=disturb)
    busy.start()
    output, _ = encoder.communicate(timeout=seconds + 60)
    outlasted = busy.is_alive() and not stop
    busy.join()
    attacker.wait(10)
    if failure:
        raise failure[0]
    assert not outlasted, "the disturbance outlasted the load; give the load more seconds"
    _read(output, result, each)
    return result


def _guard(during: Callable[[], object] | None, failure: list[BaseException]) -> None:
    try:
        if during:
            during()
    except BaseException as error:  # noqa: BLE001 - raised again by `attack`
        failure.append(error)


def _start(
    targets: str, rate: int, seconds: float, body_bytes: int
) -> tuple[subprocess.Popen[bytes], subprocess.Popen[str]]:
    file = BINARY.parent / "targets.txt"
    program = str(binary())
    file.write_text(targets)
    attacker = subprocess.Popen(
        [program, "attack", f"-targets={file}", f"-rate={rate}", f"-duration={seconds}s",
         f"-timeout={LIMIT_SECONDS}s", f"-max-body={body_bytes}", "-redirects=0"],
        stdout=subprocess.PIPE,
    )  # fmt: skip
    encoder = subprocess.Popen(
        [program, "encode", "-to=json"], stdin=attacker.stdout, stdout=subprocess.PIPE, text=True
    )
    if attacker.stdout:
        attacker.stdout.close()
    return attacker, encoder


def _read(output: str, result: Result, each: Callable[[dict[str, Any]], object] | None) -> None:
    for line in output.splitlines():
        hit: dict[str, Any] = json.loads(line)
        result.sent += 1
        seconds = hit["latency"] / 1e9
        result.latencies.append(seconds)
        if hit["code"] == 200 and seconds <= LIMIT_SECONDS:
            result.ok += 1
        else:
            result.failures[hit["error"] or f"late or status {hit['code']}"] += 1
        if each:
            each(hit)
        result.slots.update((hit.get("headers") or {}).get("X-Slot", []))
