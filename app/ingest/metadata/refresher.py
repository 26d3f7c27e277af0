"""Fetch metadata every hour in a thread of the collector."""

from threading import Event, Thread

from prometheus_client import Counter, Gauge
from prometheus_client.registry import CollectorRegistry

from app import logs
from app.ingest.errors import IngestError
from app.ingest.metadata.enrich import enrich
from app.ingest.store_files import MANIFEST_NAME
from app.settings import Settings

_INTERVAL_SECONDS = 3600.0
#: At first, until the collector has written the store.
_INITIAL_DELAY_SECONDS = 30.0

_log = logs.get(__name__)


class MetadataRefresher:
    """Runs `enrich` every hour until `stop` is set; a failed run does not stop the collector."""

    def __init__(self, settings: Settings, registry: CollectorRegistry, stop: Event) -> None:
        self._settings = settings
        self._stop = stop
        self._rows = Gauge(
            "marquee_metadata_rows",
            "Users and movies requested from the metadata API.",
            ["table"],
            registry=registry,
        )
        self._known_rows = Gauge(
            "marquee_metadata_known_rows",
            "Users and movies that the metadata API knows.",
            ["table"],
            registry=registry,
        )
        self._failures = Counter(
            "marquee_metadata_failures_total", "Failed runs.", registry=registry
        )
        self._last_success = Gauge(
            "marquee_metadata_last_success_timestamp_seconds",
            "Time of the last complete run; the start of the process before the first one.",
            registry=registry,
        )

    def start(self) -> None:
        """Start the thread, if a metadata API is configured."""
        if not self._settings.metadata_api_url:
            _log.info("no metadata: MARQUEE_METADATA_API_URL is not set")
            return
        self._last_success.set_to_current_time()
        Thread(target=self._run, name="metadata", daemon=True).start()

    def _run(self) -> None:
        delay_seconds = _INITIAL_DELAY_SECONDS
        while not self._stop.wait(delay_seconds):
            has_store = (self._settings.store_dir / MANIFEST_NAME).exists()
            delay_seconds = _INTERVAL_SECONDS if has_store else _INITIAL_DELAY_SECONDS
            if has_store:
                self._refresh()

    def _refresh(self) -> None:
        try:
            summary = enrich(self._settings, self._stop)
        except (IngestError, OSError) as error:
            self._failures.inc()
            _log.error("cannot fetch metadata, retrying in an hour", error=str(error))
            return
        for table in ("users", "movies"):
            self._rows.labels(table).set(summary[table]["rows"])
            self._known_rows.labels(table).set(summary[table]["known"])
        self._last_success.set_to_current_time()
        _log.info("metadata is up to date", **summary)
