"""Attributes beside the collector: asked for every hour, in a thread that spends it waiting."""

from threading import Event, Thread

from prometheus_client import Counter, Gauge
from prometheus_client.registry import CollectorRegistry

from app import logs
from app.ingest.errors import IngestError
from app.ingest.metadata.enrich import enrich
from app.ingest.store_files import MANIFEST_NAME
from app.settings import Settings

_HOUR = 3600.0
_FIRST_WAIT = 30.0

_log = logs.get(__name__)


class Enriching:
    """Runs `enrich` until told to stop; collecting goes on whatever becomes of it."""

    def __init__(self, settings: Settings, registry: CollectorRegistry, stop: Event) -> None:
        self._settings = settings
        self._stop = stop
        self._rows = Gauge(
            "marquee_metadata_rows", "Users and movies that were asked for.", ["table"],
            registry=registry,
        )  # fmt: skip
        self._known = Gauge(
            "marquee_metadata_known_rows", "Of them, those that the API knows.", ["table"],
            registry=registry,
        )  # fmt: skip
        self._failures = Counter(
            "marquee_metadata_failures_total", "Runs that did not end well.", registry=registry
        )
        self._last = Gauge(
            "marquee_metadata_last_success_timestamp_seconds",
            "When everything missing was last asked for; at first, when this process began.",
            registry=registry,
        )

    def start(self) -> None:
        """Begin, where there is an API to ask."""
        if not self._settings.metadata_api_url:
            _log.info("no attributes: no information API is configured (MARQUEE_METADATA_API_URL)")
            return
        self._last.set_to_current_time()
        Thread(target=self._run, name="enriching", daemon=True).start()

    def _run(self) -> None:
        wait = _FIRST_WAIT
        while not self._stop.wait(wait):
            wait = self._once()

    def _once(self) -> float:
        """One run; how long to wait for the next."""
        if not (self._settings.store_dir / MANIFEST_NAME).exists():
            return _FIRST_WAIT
        try:
            told = enrich(self._settings, self._stop)
        except (IngestError, OSError) as error:
            self._failures.inc()
            _log.error("attributes are missing; trying again in an hour", why=str(error))
            return _HOUR
        for table in ("users", "movies"):
            self._rows.labels(table).set(told[table]["rows"])
            self._known.labels(table).set(told[table]["known"])
        self._last.set_to_current_time()
        _log.info("attributes are up to date", **told)
        return _HOUR
