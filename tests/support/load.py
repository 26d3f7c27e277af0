"""Load for tests: vegeta with a constant arrival rate (open loop).

Requests are sent on schedule, whether or not earlier ones have completed, so that a stall shows as
late responses and not as fewer requests. Sent to the loopback interface only.
"""

import json
import os
import signal
import subprocess
import tempfile
from collections import Counter
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from http import HTTPStatus
from pathlib import Path
from typing import IO, Any

from tests.conftest import ROOT
from tests.support.soak import IS_SOAK

IMAGE = "marquee/loadgen:12.13.0"
BINARY = ROOT / "build" / "vegeta"
CLIENT_TIMEOUT_SECONDS = 0.6
#: Beside other programs: without NGINX's retries a paused slot alone would make a fifth late.
MIN_AVAILABILITY = 0.9


@dataclass
class Result:
    """Outcome of the requests of one run; latencies are in seconds.

    `late` counts the failures that exceeded the timeout of NGINX (status 504) or of clients.
    """

    sent: int = 0
    ok: int = 0
    late: int = 0
    failures: Counter[str] = field(default_factory=Counter)
    latencies: list[float] = field(default_factory=list)
    slots: Counter[str] = field(default_factory=Counter)

    @property
    def failed(self) -> int:
        """Number of requests without status 200 within the timeout of clients."""
        return self.sent - self.ok

    def percentile(self, share: float) -> float:
        """Latency in seconds that this share (0 to 1) of the requests did not exceed."""
        ordered = sorted(self.latencies)
        return ordered[min(len(ordered) - 1, int(share * len(ordered)))]

    def __str__(self) -> str:
        times = ", ".join(f"p{p}: {self.percentile(p / 100) * 1000:.1f} ms" for p in (50, 99))
        return f"{self.sent} sent, {self.failed} failed {dict(self.failures)}, {times}"


def assert_available(result: Result) -> None:
    """Check that no request failed, and that responses were in time.

    During `make test` other programs may use all cores: a tenth of the responses may be late.
    During `make soak` none may.
    """
    assert result.failed == result.late, result
    min_availability = 1 if IS_SOAK else MIN_AVAILABILITY
    assert result.ok >= min_availability * result.sent, result


def binary() -> Path:
    """Path of vegeta, copied out of its image on the first call."""
    if not BINARY.exists():
        BINARY.parent.mkdir(exist_ok=True)
        container = subprocess.run(
            ["docker", "create", IMAGE], capture_output=True, text=True, check=True
        ).stdout.strip()
        try:
            new = BINARY.with_suffix(f".{os.getpid()}")  # another process may copy it, too
            subprocess.run(
                ["docker", "cp", f"{container}:/usr/local/bin/vegeta", str(new)],
                check=True,
                capture_output=True,
            )
            new.replace(BINARY)
        finally:
            subprocess.run(["docker", "rm", container], check=True, capture_output=True)
    return BINARY


def attack(
    url: str,
    users: Iterable[int],
    rate: int,
    seconds: float,
    during: Callable[[], object] | None = None,
    on_response: Callable[[dict[str, Any]], object] | None = None,
    *,
    stop_early: bool = False,
) -> Result:
    """Request recommendations for users in turn at a constant rate.

    Args:
        url: base URL of the service; must be a loopback address.
        users: user ids, repeated from the first after the last.
        rate: requests per second.
        seconds: how long requests are sent; `during` must return earlier.
        during: called while the load runs, in this thread.
        on_response: called with each result as vegeta's JSON, including the body.
        stop_early: stop the load when `during` returns; `seconds` is then a maximum.
    """
    assert url.startswith("http://127.0.0.1:"), "load is sent to the loopback interface only"
    targets = "".join(f"GET {url}/recommend/{user}\n" for user in users)
    result = Result()
    ended_first = False
    with tempfile.TemporaryFile("w+") as output:
        attacker, encoder = _start(
            targets, rate, seconds, output, body_bytes=-1 if on_response else 0
        )
        try:
            if during:
                during()
                ended_first = attacker.poll() is not None
        finally:
            if stop_early:
                attacker.send_signal(signal.SIGINT)
            encoder.wait(seconds + 60)
            attacker.wait(10)
        assert not ended_first, "`during` outlasted the load; increase `seconds`"
        output.seek(0)
        _parse_output(output, result, on_response)
    return result


def _start(
    targets: str, rate: int, seconds: float, output: IO[str], body_bytes: int
) -> tuple[subprocess.Popen[bytes], subprocess.Popen[bytes]]:
    file = BINARY.parent / f"targets-{os.getpid()}.txt"
    program = str(binary())
    file.write_text(targets)
    attacker = subprocess.Popen(
        [program, "attack", f"-targets={file}", f"-rate={rate}", f"-duration={seconds}s",
         f"-timeout={CLIENT_TIMEOUT_SECONDS}s", f"-max-body={body_bytes}", "-redirects=0"],
        stdout=subprocess.PIPE,
    )  # fmt: skip
    encoder = subprocess.Popen(
        [program, "encode", "-to=json"], stdin=attacker.stdout, stdout=output
    )
    if attacker.stdout:
        attacker.stdout.close()
    return attacker, encoder


def _parse_output(
    output: IO[str], result: Result, on_response: Callable[[dict[str, Any]], object] | None
) -> None:
    for line in output:
        hit: dict[str, Any] = json.loads(line)
        result.sent += 1
        seconds = hit["latency"] / 1e9
        result.latencies.append(seconds)
        if hit["code"] == 200 and seconds <= CLIENT_TIMEOUT_SECONDS:
            result.ok += 1
        else:
            error = hit["error"].rpartition('": ')[2]  # without method and URL
            result.failures[error or f"late or status {hit['code']}"] += 1
            is_late = hit["code"] == HTTPStatus.GATEWAY_TIMEOUT or seconds > CLIENT_TIMEOUT_SECONDS
            result.late += is_late
        if on_response:
            on_response(hit)
        result.slots.update((hit.get("headers") or {}).get("X-Slot", []))
