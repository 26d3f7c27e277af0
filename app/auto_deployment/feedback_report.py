"""`marquee report`: how the lists of published versions change, and what our answers caused."""

from collections.abc import Iterator
from datetime import timedelta
from pathlib import Path
from typing import Any

import polars as pl

from app.auto_deployment.errors import DeploymentError
from app.fairness.shown_events import count_shown, join_events, read_answers
from app.provenance.database import connect, translate_errors
from app.settings import Settings


def count_caused(settings: Settings, tables: Path, window: timedelta) -> dict[str, Any]:
    """Return how many of the events in prepared tables followed our own answers.

    Args:
        settings: the database of provenance, and the time zone of the log.
        tables: directory that `marquee prepare` wrote.
        window: how long after an answer an event counts.

    Raises:
        DatabaseError: the database cannot be reached.
        DeploymentError: there is no table.
    """
    found = {
        name: pl.read_parquet(path)
        for name in ("watches", "ratings")
        if (path := tables / f"{name}.parquet").is_file()
    }
    if not found:
        raise DeploymentError(f"{tables}: neither watches.parquet nor ratings.parquet")
    events = join_events(found.get("watches"), found.get("ratings"))
    with translate_errors():
        answers = read_answers(connect(settings), settings.stream_time_zone)
        return count_shown(answers, events, window)


def format_report(report: dict[str, Any]) -> str:
    """Format a report as Markdown."""
    return "\n".join(_format(report))


def _format(report: dict[str, Any]) -> Iterator[str]:
    yield "| version | users | nDCG | coverage | Gini | similarity | shown: top 1 % |"
    yield "|---|---|---|---|---|---|---|"
    for row in report["versions"]:
        cells = (_number(row[name]) for name in
                 ("ndcg", "coverage", "gini", "similarity", "most_popular"))  # fmt: skip
        yield f"| {row['version']} | {row['users']:,} | {' | '.join(cells)} |"
    shown = report["shown_events"]
    if shown is not None:
        share = "-" if shown["share"] is None else f"{shown['share']:.1%}"
        yield ""
        yield (
            f"{shown['shown']:,} of {shown['events']:,} events ({share}) followed an answer that "
            f"had shown the movie within {report['window_hours']:g} hours."
        )
        for version, events in shown["by_version"].items():
            yield f"- version {version}: {events:,}"


def _number(value: float | None) -> str:
    return "-" if value is None else f"{value:.4f}"
