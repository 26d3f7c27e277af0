"""Copy the audit of the console's orders to the database, and read it there.

The console has no user that can write to the database, the processes that carry out orders have
none at all: the console appends to a file, which the shipper reads.
"""

from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import sqlalchemy as sa
from sqlalchemy.exc import SQLAlchemyError

from app import logs
from app.order_audit import AUDIT_FILE, AuditEntry, parse_entries
from app.provenance.database import describe_error, insert_ignore
from app.provenance.tables import audit
from app.terminal_text import escape_control_characters

_BATCH_ROWS = 1000
_US_PER_SECOND = 1_000_000
_log = logs.get(__name__)


class AuditCopier:
    """Copies a file that has changed as a whole; rows that the database has stay as they are.

    Orders are rare and the file is small, so no position in it is kept.

    Args:
        directory: of orders; may be missing or unreadable, which is logged.
    """

    def __init__(self, directory: Path) -> None:
        self._path = directory / AUDIT_FILE
        self._copied: tuple[int, int] | None = None
        self._error = ""

    def copy(self, engine: sa.Engine) -> None:
        """Copy the lines unless the file is as it was at the last call.

        What fails is logged once and tried again at the next call: it must not delay records.
        """
        try:
            status = self._path.stat()
            signature = (status.st_mtime_ns, status.st_size)
            if signature == self._copied:
                return
            entries = parse_entries(self._path.read_bytes())
        except FileNotFoundError:
            return
        except OSError as error:
            self._report(error.strerror or str(error))
            return
        rows = [_make_row(entry) for entry in entries]
        try:
            for start in range(0, len(rows), _BATCH_ROWS):
                with engine.begin() as connection:
                    insert_ignore(connection, audit, rows[start : start + _BATCH_ROWS])
        except SQLAlchemyError as error:
            self._report(describe_error(error))
            return
        self._copied, self._error = signature, ""

    def _report(self, error: str) -> None:
        if error != self._error:
            _log.error("the audit of orders cannot be copied", path=str(self._path), error=error)
        self._error = error


def _make_row(entry: AuditEntry) -> dict[str, Any]:
    return {
        "order_id": entry.id,
        "outcome": entry.outcome,
        "recorded_at_us": int(entry.time * _US_PER_SECOND),
        "action": entry.action,
        "release_id": entry.release,
        "detail": entry.detail,
        "address": entry.address,
    }


def read_audit(engine: sa.Engine, limit: int) -> list[dict[str, Any]]:
    """Return the newest rows of the table `audit`, newest first, with `recorded_at` as text.

    Raises:
        SQLAlchemyError: the database is unreachable, or has no such table.
    """
    newest = (audit.c.recorded_at_us.desc(), audit.c.order_id.desc(), audit.c.outcome)
    query = sa.select(audit).order_by(*newest).limit(limit)
    with engine.connect() as connection:
        rows = connection.execute(query).mappings().all()
    return [
        {"recorded_at": _format_time(row["recorded_at_us"])}
        | {name: value for name, value in row.items() if name != "recorded_at_us"}
        for row in rows
    ]


def format_line(row: dict[str, Any]) -> str:
    """Return a row of `read_audit` in one line for a terminal."""
    what = f"{row['action']} {row['release_id']}".rstrip()
    origin = f" (from {row['address']})" if row["address"] else ""
    line = f"{row['recorded_at']}  {row['outcome']:<8}  {what}: {row['detail']}{origin}"
    return escape_control_characters(line.replace("\n", " "))


def _format_time(time_us: int) -> str:
    return datetime.fromtimestamp(time_us / _US_PER_SECOND, UTC).isoformat(timespec="seconds")
