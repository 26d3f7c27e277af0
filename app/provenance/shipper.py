"""Takes what waits in the queue to the database: in batches, again after a failure, each once.

Killed at any moment it begins where its last commit is known to be; what it sends a second time
has its key in the database already and changes nothing.
"""

import random
import time
from collections.abc import Iterator
from threading import Event

import sqlalchemy as sa
from sqlalchemy.exc import SQLAlchemyError

from app import logs
from app.provenance.database import insert, plainly, upkeep
from app.provenance.rows import about_rows, answer_rows
from app.provenance.shipper_metrics import ShipperMetrics
from app.provenance.spool_reader import Backlog, Piece
from app.provenance.spool_writer import segments
from app.provenance.tables import metadata, reccom, tracking

BATCH = 2000
_IDLE_SECONDS = 0.5
_LONGEST_WAIT = 15.0
_UPKEEP_SECONDS = 3600.0

_log = logs.get(__name__)


class Shipper:
    """One shipper over one queue."""

    def __init__(
        self, backlog: Backlog, engine: sa.Engine, metrics: ShipperMetrics, keep_days: int
    ) -> None:
        self._backlog = backlog
        self._engine = engine
        self._metrics = metrics
        self._keep_days = keep_days
        self._upkeep_at = 0.0

    def run(self, stop: Event) -> None:
        """Ship until told to stop, then once more what is there."""
        failures = 0
        while not stop.is_set():
            if self._cycle():
                if failures:
                    _log.info("the database takes records again", after_failures=failures)
                failures = 0
                stop.wait(_IDLE_SECONDS)
            else:
                failures += 1
                longest = min(_LONGEST_WAIT, _IDLE_SECONDS * 2 ** min(failures, 10))
                stop.wait(random.uniform(longest / 2, longest))  # noqa: S311 - spreads retries
        self._cycle()

    def _cycle(self) -> bool:
        """Ship all that waits; whether it went well."""
        self._metrics.alive()
        try:
            self.ship()
            self._keep_up()
        except SQLAlchemyError as error:
            self._failed("database", plainly(error))
        except OSError as error:
            self._failed("queue", str(error))
        else:
            return True
        return False

    def _failed(self, where: str, why: str) -> None:
        self._metrics.failed(where)
        _log.error("records wait; trying again", failed=where, why=why)

    def ship(self) -> int:
        """Take everything that waits now to the database; how many answers."""
        # Segments are listed first: whoever writes one has said before which version it is.
        waiting = segments(self._backlog.directory)
        self._ship_abouts()
        shipped = 0
        pieces = (p for s in waiting for p in self._backlog.pieces(s, BATCH))
        for batch in _batches(pieces):
            shipped += self._ship_batch(batch)
        for segment in waiting:
            self._backlog.finish(segment)
        self._metrics.torn(self._backlog.torn)
        return shipped

    def _ship_abouts(self) -> None:
        for path, about in self._backlog.abouts():
            with self._engine.begin() as connection:
                for name, row in about_rows(about).items():
                    insert(connection, metadata.tables[name], [row])
                self._compare(connection, about["tracking"])
            path.unlink(missing_ok=True)

    def _compare(self, connection: sa.Connection, said: dict[str, object]) -> None:
        """Two models under one number can only be told apart by the build: say so."""
        number = said["version_number"]
        query = sa.select(tracking.c.model_hash).where(tracking.c.version_number == number)
        if connection.scalar(query) != said["model_hash"]:
            self._metrics.contradicted()
            _log.error("another model had this version number before", version=number)

    def _ship_batch(self, batch: list[Piece]) -> int:
        rows = [row for piece in batch for row in answer_rows(piece)]
        started = time.monotonic()
        with self._engine.begin() as connection:
            insert(connection, reccom, rows)
        self._backlog.taken(batch)
        self._metrics.written(len(rows), time.monotonic() - started)
        return len(rows)

    def _keep_up(self) -> None:
        if time.monotonic() >= self._upkeep_at:
            upkeep(self._engine, time.time_ns() // 1000, self._keep_days)
            self._upkeep_at = time.monotonic() + _UPKEEP_SECONDS


def _batches(pieces: Iterator[Piece]) -> Iterator[list[Piece]]:
    """Pieces together, until they hold a batch: many small segments cost one commit."""
    batch: list[Piece] = []
    for piece in pieces:
        batch.append(piece)
        if sum(len(p.records) for p in batch) >= BATCH:
            yield batch
            batch = []
    if batch:
        yield batch
