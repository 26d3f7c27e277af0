"""The shipper: write the records of the spool to the database in batches, with retries.

A shipper that was killed continues at the last committed offset. Records that are sent twice change
nothing, because their key is in the database already.
"""

import sys
import time
from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path
from threading import BoundedSemaphore, Event, Thread

import sqlalchemy as sa
from flask import Flask, Response, jsonify
from sqlalchemy.exc import SQLAlchemyError
from tenacity import (
    RetryCallState,
    Retrying,
    retry_if_exception_type,
    sleep_using_event,
    stop_when_event_set,
    wait_random_exponential,
)

from app import http_server, logs
from app.locks import LockHeldError, exclusive_lock
from app.problem_details import problem
from app.provenance.audit import AuditCopier
from app.provenance.database import (
    connect,
    describe_error,
    enforce_retention,
    insert_ignore,
    upgrade,
)
from app.provenance.lineage import Lineage
from app.provenance.quality_metrics import QualityCollector
from app.provenance.quarantine import Quarantine
from app.provenance.shipper_metrics import DATABASE, SPOOL, ShipperMetrics
from app.provenance.spool_reader import RecordBatch, SpoolReader
from app.provenance.spool_writer import list_segments
from app.provenance.tables import is_request_id, metadata, reccom, record_rows, tracking
from app.settings import Settings
from app.settings_watch import SettingsWatch
from app.shutdown import stop_event

BATCH_RECORDS = 2000
#: Traces that are served at a time.
MAX_TRACES = 2
#: In the spool; held by its only shipper.
LOCK_FILE = "shipper.lock"
_POLL_SECONDS = 0.5
_MAX_RETRY_SECONDS = 15.0
_RETENTION_INTERVAL_SECONDS = 3600.0

_log = logs.get(__name__)


class Shipper:
    """Ships the records of one spool, and the audit of the console's orders.

    Args:
        reader: of the spool.
        engine: of the database.
        metrics: of the shipper.
        retention_days: for how many days records are kept.
        audit: copies the audit; None: there is none.
    """

    def __init__(
        self,
        reader: SpoolReader,
        engine: sa.Engine,
        metrics: ShipperMetrics,
        retention_days: int,
        audit: AuditCopier | None = None,
    ) -> None:
        self._reader = reader
        self._engine = engine
        self._metrics = metrics
        self._retention_days = retention_days
        self._audit = audit
        self._retention_due_at = 0.0

    def run(self, stop: Event) -> None:
        """Ship until `stop` is set, then once more what was written before."""
        retry = Retrying(
            retry=retry_if_exception_type((SQLAlchemyError, OSError)),
            wait=wait_random_exponential(_POLL_SECONDS, _MAX_RETRY_SECONDS, min=_POLL_SECONDS),
            sleep=sleep_using_event(stop),
            stop=stop_when_event_set(stop),
            after=self._report_failure,
            retry_error_callback=lambda _: None,
        )
        while not stop.is_set():
            retry(self.run_once)
            if (attempts := retry.statistics["attempt_number"]) > 1 and not stop.is_set():
                _log.info("shipping again", failed_attempts=attempts - 1)
            stop.wait(_POLL_SECONDS)
        retry(self.run_once)

    def run_once(self) -> None:
        """Ship all records that wait now and the audit, and enforce the retention once an hour.

        Raises:
            SQLAlchemyError: the database is unreachable or refuses.
            OSError: the spool cannot be read or written.
        """
        self._metrics.heartbeat()
        self.ship()
        if time.monotonic() >= self._retention_due_at:
            self._reader.quarantine.prune()
            enforce_retention(self._engine, time.time_ns() // 1000, self._retention_days)
            self._retention_due_at = time.monotonic() + _RETENTION_INTERVAL_SECONDS
        if self._audit:
            self._audit.copy(self._engine)

    def ship(self) -> int:
        """Write all records that wait now to the database; return their number."""
        # Segments are listed first: a process describes itself before it writes a segment.
        segments = list_segments(self._reader.directory)
        self._ship_instance_infos()
        batches = (b for s in segments for b in self._reader.read_batches(s, BATCH_RECORDS))
        shipped = sum(self._ship_batches(group) for group in _group(batches))
        for segment in segments:
            self._reader.remove_if_shipped(segment)
        self._metrics.set_torn_segments(self._reader.torn_segments)
        return shipped

    def _ship_instance_infos(self) -> None:
        for path, rows in self._reader.read_instance_infos():
            with self._engine.begin() as connection:
                for name, row in rows.items():
                    insert_ignore(connection, metadata.tables[name], [row])
                self._check_version_conflict(connection, rows["tracking"])
            path.unlink(missing_ok=True)

    def _check_version_conflict(self, connection: sa.Connection, row: dict[str, object]) -> None:
        """Report two models with one version number: only their builds distinguish them."""
        number = row["version_number"]
        query = sa.select(tracking.c.model_hash).where(tracking.c.version_number == number)
        if connection.scalar(query) != row["model_hash"]:
            self._metrics.version_conflict()
            _log.error("another model has this version number already", version=number)

    def _ship_batches(self, batches: list[RecordBatch]) -> int:
        rows = [row for batch in batches for row in record_rows(batch)]
        started = time.monotonic()
        if rows:
            with self._engine.begin() as connection:
                insert_ignore(connection, reccom, rows)
        self._reader.commit(batches)
        self._metrics.batch_written(len(rows), time.monotonic() - started)
        return len(rows)

    def _report_failure(self, state: RetryCallState) -> None:
        error = state.outcome.exception() if state.outcome else None
        if isinstance(error, SQLAlchemyError):
            failed, message = DATABASE, describe_error(error)
        else:
            failed, message = SPOOL, str(error)
        self._metrics.attempt_failed(failed)
        _log.error(
            "cannot ship; records stay in the spool",
            failed=failed,
            error=message,
            attempt=state.attempt_number,
        )


def _group(batches: Iterator[RecordBatch]) -> Iterator[list[RecordBatch]]:
    """Group the batches of small segments, so that they cost one commit."""
    group: list[RecordBatch] = []
    for batch in batches:
        group.append(batch)
        if sum(len(b.records) for b in group) >= BATCH_RECORDS:
            yield group
            group = []
    if group:
        yield group


def create_app(metrics: ShipperMetrics, lineage: Lineage) -> Flask:
    """The shipper's HTTP server: `/trace/<request_id>`, `/metrics` and `/health`.

    Args:
        metrics: those of `/metrics`.
        lineage: reads the records. So that traces delay neither the shipper nor the other pages,
            its connections must not be the shipper's, and `MAX_TRACES` run at a time.
    """
    app = http_server.create_app(metrics.registry, metrics.is_alive)
    free = BoundedSemaphore(MAX_TRACES)

    @app.get("/trace/<request_id>")
    def trace(request_id: str) -> Response:
        # Another id has no day: every partition would be searched for it.
        if not is_request_id(request_id):
            return problem(400, "Bad Request", "not an id of the header X-Request-Id")
        if not free.acquire(blocking=False):
            return problem(503, "Service Unavailable", "too many traces at a time")
        try:
            records = lineage.find_request(request_id)
        except SQLAlchemyError:
            return problem(503, "Service Unavailable", "the database is unreachable")
        finally:
            free.release()
        if not records:
            return problem(404, "Not Found", "no record of this request (yet)")
        return jsonify(records=records)

    return app


def run_shipper(settings: Settings, exit_with_parent: bool) -> None:
    """Run the shipper until SIGTERM, SIGINT or, with `exit_with_parent`, the end of stdin."""
    settings.spool_dir.mkdir(parents=True, exist_ok=True)
    # Ctrl-C reaches parent and child; the child has to outlast the parent's last responses.
    stop = stop_event(ignore_sigint=exit_with_parent)
    if exit_with_parent:
        Thread(target=_stop_at_end_of_stdin, args=(stop,), daemon=True).start()
    watch = SettingsWatch(settings, stop)
    watch.start()
    with ExitStack() as stack:
        stack.callback(watch.restart_if_changed)
        if not _lock_spool(stack, settings.spool_dir / LOCK_FILE, stop):
            return
        engine = connect(settings)
        _create_tables(engine)
        reader = SpoolReader(settings.spool_dir, open_quarantine(settings))
        reader.clean_up()
        reader.requeue()
        metrics = ShipperMetrics(reader, settings.shipper_volume_paths)
        metrics.registry.register(QualityCollector(connect(settings)))
        app = create_app(metrics, Lineage(connect(settings)))
        if server := http_server.start_server(settings.shipper_bind, app):
            stack.callback(server.stop)
        _log.info("shipper started", spool=str(settings.spool_dir), database=settings.database)
        audit = AuditCopier(settings.orders_dir)
        Shipper(reader, engine, metrics, settings.provenance_retention_days, audit).run(stop)


def open_quarantine(settings: Settings) -> Quarantine:
    """The quarantine of the configured spool: a quarter of its size, and records as long kept."""
    max_bytes = (settings.spool_max_mb << 20) // 4
    return Quarantine(settings.spool_dir, max_bytes, settings.provenance_retention_days)


def _stop_at_end_of_stdin(stop: Event) -> None:
    sys.stdin.buffer.read()
    stop.set()


def _lock_spool(stack: ExitStack, path: Path, stop: Event) -> bool:
    """Lock the spool, waiting for another shipper to end; return False if `stop` is set first."""
    is_waiting = False
    while True:
        try:
            stack.enter_context(exclusive_lock(path))
            return True
        except LockHeldError as error:
            if not is_waiting:
                is_waiting = True
                _log.warning("waiting for another shipper of this spool to end", owner=error.owner)
        # Not a blocking lock: Python starts that again after a signal, and SIGTERM has no effect.
        if stop.wait(_POLL_SECONDS):
            return False


def _create_tables(engine: sa.Engine) -> None:
    """Run the migrations in SQLite; elsewhere another user owns the tables."""
    if engine.dialect.name == "sqlite":
        try:
            upgrade(engine)
        except SQLAlchemyError as error:
            _log.error("cannot create the tables", error=describe_error(error))
