"""Progress of a simulation: a live table on a terminal, otherwise a log event; and its summary."""

import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

from rich.console import Console, Group
from rich.live import Live
from rich.table import Table

from app import logs
from app.simulator.simulation import Simulation

#: Called often by the driver; reports when an interval has passed.
ReportProgress = Callable[[], None]

_TABLE_INTERVAL_SECONDS, _LOG_INTERVAL_SECONDS = 1.0, 30.0
_COLUMNS = (
    "choices", "recommended", "organic", "best", "gain", "gain_standard_error", "share_of_best",
)  # fmt: skip
_log = logs.get(__name__)


@contextmanager
def progress_reporter(simulation: Simulation) -> Iterator[ReportProgress]:
    """Yield the function that reports the progress of a simulation."""
    if not sys.stderr.isatty():
        yield _throttle(
            _LOG_INTERVAL_SECONDS, lambda: _log.info("simulating", **_log_fields(simulation))
        )
        return
    console = Console(stderr=True)
    with Live(console=console, auto_refresh=False) as live:
        yield _throttle(
            _TABLE_INTERVAL_SECONDS,
            lambda: live.update(Group(*summary_tables(simulation.summary())), refresh=True),
        )


def summary_tables(summary: dict[str, Any]) -> list[Table]:
    """Render a summary for a terminal."""
    log = summary["log"]
    return [
        _key_value_table(
            f"{summary['days']:.2f} days from {summary['start']}",
            {"users": summary["users"], "movies": summary["movies"]},
        ),
        _key_value_table("requests", summary["requests"]),
        _key_value_table(
            "log lines", {k: v for k, v in log.items() if k != "reasons"} | log["reasons"]
        ),
        _utility_table("true utility by model version", "version", summary["versions"]),
        _utility_table(
            "true utility of new users by movies watched",
            "watched",
            {row["watched"]: row for row in summary["cold_start"]},
        ),
    ]


def _key_value_table(title: str, values: dict[str, Any]) -> Table:
    table = Table(title=title, title_justify="left", show_header=False, box=None)
    table.add_column(min_width=20)
    table.add_column(justify="right", min_width=12)
    for name, value in values.items():
        table.add_row(name, "-" if value is None else f"{value:,}")
    return table


def _utility_table(title: str, key: str, rows: dict[str, dict[str, Any]]) -> Table:
    table = Table(title=title, title_justify="left", box=None)
    for name in (key, *_COLUMNS):
        table.add_column(name, justify="right")
    for name, means in rows.items():
        table.add_row(name, *(f"{means[column]:,}" for column in _COLUMNS))
    return table


def _log_fields(simulation: Simulation) -> dict[str, Any]:
    requests = simulation.request_stats.summary()
    sessions = simulation.watch_sessions
    versions = simulation.utility_metrics.by_version()
    return {
        "time": simulation.environment.datetime_at(sessions.now).isoformat(),
        "requests": requests["sent"],
        "availability": requests["availability"],
        "p99_ms": requests["p99_ms"],
        "lines": simulation.log_writer.counts.total(),
        "active_watch_sessions": sessions.active,
        "gain": {version: means["gain"] for version, means in versions.items()},
    }


def _throttle(interval_seconds: float, report: ReportProgress) -> ReportProgress:
    last = time.monotonic()

    def report_if_due() -> None:
        nonlocal last
        if time.monotonic() - last >= interval_seconds:
            last = time.monotonic()
            report()

    return report_if_due
