"""Lines of samples for the tests of the canary analysis."""

import json
from collections.abc import Iterable
from typing import Any

import numpy as np

from app.canary_analysis.observations import Observations, SlotCounts

BOUNDS = (0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0)
SLOTS = ("canary", "stable-1", "stable-2")


def make_line(minute: int, slot: str, *, requests: int = 48, **changes: Any) -> dict[str, Any]:
    """Return one line: all requests answered with 200 in 2 to 5 ms, none missing."""
    failures, client_errors = changes.pop("failures", 0), changes.pop("client_errors", 0)
    ok = requests - failures - client_errors
    seconds = changes.pop("latency", 0.003)
    line = {
        "minute": minute,
        "slot": slot,
        "version": "7" if slot == "canary" else "6",
        "status": {"200": ok, "500": failures, "404": client_errors},
        "buckets": {f"{b:g}": ok if b >= seconds else 0 for b in BOUNDS} | {"+Inf": ok},
        "source": {"personal": ok - ok // 4, "popular": ok // 4},
        "recent_unused": 0,
        "started": requests,
        "up": 12,
        "scrapes": 12,
    }
    return line | changes


def make_lines(minutes: int, canary: Any = None) -> list[dict[str, Any]]:
    """Return all lines of a window; `canary` returns changes of the canary's line by minute."""
    return [
        make_line(
            minute,
            slot,
            **({"requests": 96} if slot != "canary" else canary(minute) if canary else {}),
        )
        for minute in range(minutes)
        for slot in SLOTS
    ]


def encode(lines: Iterable[dict[str, Any]]) -> bytes:
    """Return the lines as a file."""
    return "".join(f"{json.dumps(line)}\n" for line in lines).encode()


def observe(canary_bad: Any, stables_bad: Any, requests: int = 1000) -> Observations:
    """Return observations with these failures per minute and slot, and as many requests each."""

    def build(bad: Any, slots: int) -> SlotCounts:
        failures = np.asarray(bad, dtype=np.int64).reshape(slots, -1)
        answered = np.full(failures.shape, requests)
        up = np.full(failures.shape, 12)
        return SlotCounts(answered, failures, np.zeros_like(failures), up, up)

    stables = np.asarray(stables_bad)
    return Observations(build(canary_bad, 1), build(stables, len(stables)), np.array([]), 12)
