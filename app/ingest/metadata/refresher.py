"""Fetch metadata every hour in a thread of the collector."""

import time
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
_HEARTBEAT_INTERVAL_SECONDS = 60.0

_log = logs.get(__name__)


class MetadataRefresher:
    """Runs `enrich` every hour until `stop` is set.

    A failed run, whatever its error, stops neither the collector nor the runs after it.
    """

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
        self._failed_rows = Gauge(
            "marquee_metadata_failed_rows",
            "Users and movies without a usable response; each run requests them again.",
            registry=registry,
        )
        self._heartbeat = Gauge(
            "marquee_metadata_heartbeat_timestamp_seconds",
            "Time of the last request of the metadata thread, or of its last minute of waiting.",
            registry=registry,
        )

    def start(self) -> None:
        """Start the thread, if a metadata API is configured."""
        if not self._settings.metadata_api_url:
            _log.info("no metadata: MARQUEE_METADATA_API_URL is not set")
            return
        self._last_success.set_to_current_time()
        self._heartbeat.set_to_current_time()
        Thread(target=self._run, name="metadata", daemon=True).start()

    def _run(self) -> None:
        delay_seconds = _INITIAL_DELAY_SECONDS
        while not self._wait(delay_seconds):
            has_store = (self._settings.store_dir / MANIFEST_NAME).exists()
            delay_seconds = _INTERVAL_SECONDS if has_store else _INITIAL_DELAY_SECONDS
            if has_store:
                self._refresh()

    def _wait(self, seconds: float) -> bool:
        """Wait with a heartbeat every minute; return whether `stop` is set."""
        end_at = time.monotonic() + seconds
        while (left := end_at - time.monotonic()) > 0:
            self._heartbeat.set_to_current_time()
            if self._stop.wait(min(left, _HEARTBEAT_INTERVAL_SECONDS)):
                return True
        return self._stop.is_set()

    def _refresh(self) -> None:
        try:
            summary = enrich(self._settings, self._stop, self._heartbeat.set_to_current_time)
        except (IngestError, OSError) as error:
            self._failures.inc()
            _log.error("cannot fetch metadata, retrying in an hour", error=str(error))
            return
        except BaseException:  # noqa: BLE001 - a panic of polars is no Exception
            self._failures.inc()
            _log.exception("cannot fetch metadata, retrying in an hour")
            return
        self._failed_rows.set(summary["failed"])
        for table in ("users", "movies"):
            self._rows.labels(table).set(summary[table]["rows"])
            self._known_rows.labels(table).set(summary[table]["known"])
        self._last_success.set_to_current_time()
        _log.info("metadata is up to date", **summary)
