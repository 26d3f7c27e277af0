"""How a run goes, while it goes: a table on a terminal, a log line elsewhere; and its end."""

import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from rich.console import Console, Group
from rich.live import Live
from rich.table import Table

from app import logs
from app.simulator.driver import Tell
from app.simulator.simulation import Simulation

_REFRESH_SECONDS, _LOG_SECONDS = 1.0, 30.0
_COLUMNS = ("choices", "recommended", "unaided", "best", "gain", "gain_error", "share_of_best")
_log = logs.get(__name__)


@contextmanager
def telling(simulation: Simulation) -> Iterator[Tell]:
    """Yield what is called often and tells now and then."""
    if not sys.stderr.isatty():
        yield _now_and_then(_LOG_SECONDS, lambda: _log.info("simulating", **_short(simulation)))
        return
    console = Console(stderr=True)
    with Live(console=console, auto_refresh=False) as live:
        yield _now_and_then(
            _REFRESH_SECONDS,
            lambda: live.update(Group(*tables(simulation.summary())), refresh=True),
        )


def tables(summary: dict[str, Any]) -> list[Table]:
    """A summary for people."""
    requests, stream = summary["requests"], summary["stream"]
    return [
        _pairs(
            f"{summary['start']} and {summary['days']:.2f} days",
            {"users": summary["users"], "movies": summary["movies"]},
        ),
        _pairs("requests", requests),
        _pairs("lines", {k: v for k, v in stream.items() if k != "reasons"} | stream["reasons"]),
        _means("true utility by model version", "version", summary["versions"]),
        _means(
            "of new users, by movies watched",
            "watched",
            {row["watched"]: row for row in summary["cold_start"]},
        ),
    ]


def _pairs(title: str, values: dict[str, Any]) -> Table:
    table = Table(title=title, title_justify="left", show_header=False, box=None)
    table.add_column(min_width=20)
    table.add_column(justify="right", min_width=12)
    for name, value in values.items():
        table.add_row(name, "-" if value is None else f"{value:,}")
    return table


def _means(title: str, key: str, rows: dict[str, dict[str, Any]]) -> Table:
    table = Table(title=title, title_justify="left", box=None)
    for name in (key, *_COLUMNS):
        table.add_column(name, justify="right")
    for name, means in rows.items():
        table.add_row(name, *(f"{means[column]:,}" for column in _COLUMNS))
    return table


def _short(simulation: Simulation) -> dict[str, Any]:
    requests = simulation.availability.summary()
    return {
        "time": simulation.world.moment(simulation.viewing.now).isoformat(),
        "requests": requests["sent"],
        "availability": requests["availability"],
        "p99_ms": requests["p99_ms"],
        "lines": simulation.stream.counts.total(),
        "watching": simulation.viewing.watching,
        "gain": {name: means["gain"] for name, means in simulation.truth.versions().items()},
    }


def _now_and_then(seconds: float, tell: Tell) -> Tell:
    last = time.monotonic()

    def ask() -> None:
        nonlocal last
        if time.monotonic() - last >= seconds:
            last = time.monotonic()
            tell()

    return ask
