"""The sources of the pages, as the settings name them."""

from dataclasses import dataclass
from pathlib import Path
from typing import Any

from app.console.exposure import Exposure, ExposureSpan
from app.console.orders import Orders
from app.console.prometheus import Alert, Metrics, PrometheusClient
from app.console.records import Records, Version
from app.console.release_state import ReleaseState, read_release_state
from app.console.retraining_state import RetrainingState, fetch_retraining_state
from app.console.sources import Source
from app.provenance.database import connect_reader
from app.settings import Settings

Histories = dict[str, dict[str, list[float | None]]]


@dataclass(frozen=True)
class Console:
    """Everything that the pages read.

    Attributes:
        metrics: samples of the queries, from Prometheus.
        histories: the last hours of some of them.
        alerts: pending and firing ones, from Prometheus.
        release: state and history of releases, from files.
        retraining: how the last run ended, from the scheduler.
        versions: of data and model, from the database.
        exposure: the counts of recommended movies, from the database.
        records: answers look-ups from the database.
        movies: answers look-ups from the counts.
        prometheus_link: base URL at which a reader's browser reaches Prometheus.
        runbook: the page with a section for each alert.
        orders: of operators; None while actions are switched off.
    """

    metrics: Source[Metrics]
    histories: Source[Histories]
    alerts: Source[list[Alert]]
    release: Source[ReleaseState]
    retraining: Source[RetrainingState]
    versions: Source[list[Version]]
    exposure: Source[ExposureSpan]
    records: Records
    movies: Exposure
    prometheus_link: str
    runbook: Path
    orders: Orders | None = None

    @property
    def sources(self) -> list[Source[Any]]:
        """All sources that are read in the background."""
        return [
            self.metrics,
            self.histories,
            self.alerts,
            self.release,
            self.retraining,
            self.versions,
            self.exposure,
        ]


def create_console(settings: Settings) -> Console:
    """Create the sources; nothing is read yet."""
    prometheus = PrometheusClient(settings.prometheus_url)
    engine = connect_reader(settings)
    records, movies = Records(engine), Exposure(engine, settings.console_dir)
    return Console(
        metrics=Source("Prometheus", prometheus.read_metrics, 10, "Figures are old, or missing."),
        histories=Source(
            "Prometheus, the last hours",
            prometheus.read_histories,
            60,
            "The pictures of the last hours are old, or missing.",
        ),
        alerts=Source(
            "Alerts of Prometheus",
            prometheus.read_alerts,
            5,
            "Alerts that fire now may be missing here.",
        ),
        release=Source(
            "State of releases",
            lambda: read_release_state(settings.release_dir),
            2,
            "The state of a release is not known, or old.",
        ),
        retraining=Source(
            "Scheduler",
            lambda: fetch_retraining_state(settings.scheduler_url),
            5,
            "How the last retraining ended is not known, or old.",
        ),
        versions=Source(
            "Database of provenance",
            records.read_versions,
            30,
            "Versions are old or missing, and look-ups of users and requests fail.",
        ),
        exposure=Source(
            "Counts of recommended movies",
            movies.refresh,
            5,
            "The counts do not contain the newest recommendations.",
        ),
        records=records,
        movies=movies,
        prometheus_link=(settings.prometheus_link or settings.prometheus_url).rstrip("/"),
        runbook=settings.docs_dir / "operations.md",
        orders=Orders(settings.orders_dir) if settings.console_token.get_secret_value() else None,
    )
