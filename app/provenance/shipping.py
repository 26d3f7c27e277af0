"""The process that ships: one a queue, ended by a signal or with its parent."""

import fcntl
import os
import signal
import sys
from pathlib import Path
from threading import Event, Thread
from types import FrameType

import prometheus_client
import sqlalchemy as sa
from sqlalchemy.exc import SQLAlchemyError

from app import logs
from app.provenance import web
from app.provenance.database import connect, plainly, upgrade
from app.provenance.lineage import Tracer
from app.provenance.shipper import Shipper
from app.provenance.shipper_metrics import ShipperMetrics
from app.provenance.spool_reader import Backlog
from app.settings import Settings

_LOCK = "shipper.lock"

_log = logs.get(__name__)


def run(settings: Settings, with_parent: bool) -> None:
    """Ship until told to stop."""
    settings.spool_dir.mkdir(parents=True, exist_ok=True)
    stop = Event()
    _stop_on_signals(stop, with_parent)
    lock = _lock(settings.spool_dir)
    try:
        engine = connect(settings)
        _make_tables(engine)
        prometheus_client.disable_created_metrics()  # type: ignore[no-untyped-call]
        backlog = Backlog(settings.spool_dir)
        backlog.tidy()
        metrics = ShipperMetrics(backlog)
        server = web.serve(settings.shipper_bind, metrics, Tracer(engine))
        _log.info("shipping", queue=str(settings.spool_dir), database=settings.database)
        Shipper(backlog, engine, metrics, settings.provenance_retention_days).run(stop)
        if server:
            server.shutdown()
    finally:
        os.close(lock)


def _make_tables(engine: sa.Engine) -> None:
    """In SQLite, whose file is this process's own; elsewhere another user owns the tables."""
    if engine.dialect.name == "sqlite":
        try:
            upgrade(engine)
        except SQLAlchemyError as error:
            _log.error("the tables cannot be made", why=plainly(error))


def _stop_on_signals(stop: Event, with_parent: bool) -> None:
    def told(number: int, frame: FrameType | None) -> None:
        stop.set()

    signal.signal(signal.SIGTERM, told)
    # Ctrl-C reaches parent and child; the child has to outlast what the parent still answers.
    signal.signal(signal.SIGINT, signal.SIG_IGN if with_parent else told)
    if with_parent:

        def wait_for_end() -> None:
            sys.stdin.buffer.read()
            stop.set()

        Thread(target=wait_for_end, daemon=True).start()


def _lock(directory: Path) -> int:
    descriptor = os.open(directory / _LOCK, os.O_RDWR | os.O_CREAT, 0o640)
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        _log.warning("another shipper works on this queue; waiting for it to end")
        fcntl.flock(descriptor, fcntl.LOCK_EX)
    return descriptor
