"""The audit of orders: a line of a file for each order, and for each thing that became of it.

The console appends the lines, the shipper copies them to the database (app/provenance/audit.py):
the console's own user of the database can only read.
"""

import json
import os
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from app.orders import Order, is_order_id
from app.text_files import parse_json_rows, parse_seconds

AUDIT_FILE = "audit.jsonl"
#: Of the line that is written with the order itself; the others are outcomes.
GIVEN = "given"
OUTCOMES = ("accepted", "refused", "done", "failed")
_MAX_TEXT, _MAX_NAME = 2000, 100


@dataclass(frozen=True)
class AuditEntry:
    """A line of the audit.

    Attributes:
        id: of the order.
        outcome: `given`, or one of `OUTCOMES`.
        time: when the line was written, in Unix seconds.
        action: what was ordered.
        release: id of the release that it is for; empty if there was none.
        detail: who gave it and why, or the outcome's sentence.
        address: from where it was sent; empty for an outcome.
        expires_at: until when it can be carried out, in Unix seconds; 0 for an outcome.
    """

    id: str
    outcome: str
    time: float
    action: str
    release: str
    detail: str
    address: str = ""
    expires_at: float = 0.0


def append_order(directory: Path, order: Order, time: float, address: str) -> None:
    """Append the line of an order that is given.

    Raises:
        OSError: it cannot be written.
    """
    _append(directory, {"time": time, "address": address, "outcome": GIVEN, **vars(order)})


def append_outcome(directory: Path, entry: AuditEntry) -> None:
    """Append the line of an outcome.

    Raises:
        OSError: it cannot be written.
    """
    names = ("time", "id", "outcome", "action", "release", "detail")
    _append(directory, {name: getattr(entry, name) for name in names})


def parse_entries(data: bytes) -> list[AuditEntry]:
    """Return the entries of some lines, oldest first; what is no entry is left out."""
    return [entry for row in parse_json_rows(data) if (entry := _parse_entry(row))]


def _append(directory: Path, row: dict[str, Any]) -> None:
    flags = os.O_WRONLY | os.O_APPEND | os.O_CREAT
    descriptor = os.open(directory / AUDIT_FILE, flags, 0o644)
    try:
        os.write(descriptor, json.dumps(row).encode() + b"\n")
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def _parse_entry(row: dict[str, Any]) -> AuditEntry | None:
    outcome = row.get("outcome", GIVEN)  # versions without outcomes wrote no such field
    if not is_order_id(row.get("id")) or outcome not in (GIVEN, *OUTCOMES):
        return None
    return AuditEntry(
        id=row["id"],
        outcome=outcome,
        time=parse_seconds(row.get("time")) or 0.0,
        action=_text(row.get("action"))[:_MAX_NAME],
        release=_text(row.get("release"))[:_MAX_NAME],
        detail=_text(row.get("reason" if outcome == GIVEN else "detail")),
        address=_text(row.get("address"))[:_MAX_NAME],
        expires_at=parse_seconds(row.get("expires_at")) or 0.0,
    )


def _text(value: Any) -> str:
    """A text that a database can store: JSON may have halves of surrogate pairs."""
    text = "" if value is None else str(value)[:_MAX_TEXT]
    return text.encode(errors="replace").decode()
