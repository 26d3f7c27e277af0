"""Write orders, each with a row in a log of who gave it, and list what became of them."""

import json
import os
import time
from dataclasses import asdict, dataclass
from pathlib import Path
from threading import Lock
from typing import Any

from app import logs
from app.console.release_state import ReleaseState
from app.console.retraining_state import RetrainingState
from app.orders import Action, Order, create_order, remove_expired_orders, write_order
from app.text_files import parse_json_rows

AUDIT_FILE = "audit.jsonl"
#: Orders that are listed.
MAX_LISTED = 20
_MAX_AUDIT_BYTES = 1_000_000
_log = logs.get(__name__)


@dataclass(frozen=True)
class GivenOrder:
    """A row of the audit log, with what became of the order.

    Attributes:
        id: of the order.
        given_at: when, in Unix seconds.
        action: what was ordered.
        release: id of the release that it is for.
        reason: who gave it, and why.
        address: from where it was sent.
        outcome: `accepted`, `refused`, `done`, `failed`, `waiting` or `expired`.
        detail: of the outcome.
    """

    id: str
    given_at: float
    action: str
    release: str
    reason: str
    address: str
    outcome: str
    detail: str


class Orders:
    """The orders of a directory.

    Args:
        directory: of the order files and the audit log; created with the first order.
    """

    def __init__(self, directory: Path) -> None:
        self._directory = directory
        self._lock = Lock()

    def give(self, action: Action, release: str, reason: str, address: str) -> Order:
        """Write a row of the audit log, and then the order.

        Args:
            action: what to do.
            release: id of the release that it is for; empty where there is none.
            reason: who gives it, and why.
            address: from where it was sent.

        Raises:
            OSError: one of them cannot be written; without a row there is no order.
        """
        order = create_order(action, release, reason)
        row = {"time": time.time(), "address": address, **asdict(order)}
        with self._lock:
            self._directory.mkdir(parents=True, exist_ok=True)
            self._append(json.dumps(row) + "\n")
            remove_expired_orders(self._directory)
            write_order(self._directory, order)
        _log.warning("order given", id=order.id, action=action, release=release, reason=reason)
        return order

    def list_given(
        self, release: ReleaseState | None, retraining: RetrainingState | None
    ) -> list[GivenOrder]:
        """Return the newest orders, newest first.

        Args:
            release: has what the process of releases recorded.
            retraining: has what the scheduler recorded.

        Raises:
            OSError: the audit log cannot be read.
        """
        known = {
            **(retraining.orders if retraining else {}),
            **(release.orders if release else {}),
        }
        rows = self._read_rows()[: -MAX_LISTED - 1 : -1]
        return [_describe(row, known.get(str(row.get("id")))) for row in rows]

    def _append(self, line: str) -> None:
        path = self._directory / AUDIT_FILE
        descriptor = os.open(path, os.O_WRONLY | os.O_APPEND | os.O_CREAT, 0o644)
        try:
            os.write(descriptor, line.encode())
            os.fsync(descriptor)
        finally:
            os.close(descriptor)

    def _read_rows(self) -> list[dict[str, Any]]:
        try:
            with (self._directory / AUDIT_FILE).open("rb") as file:
                file.seek(max(0, file.seek(0, os.SEEK_END) - _MAX_AUDIT_BYTES))
                return parse_json_rows(file.read())
        except FileNotFoundError:
            return []


def _describe(row: dict[str, Any], known: tuple[str, str] | None) -> GivenOrder:
    expires_at, given_at = row.get("expires_at"), row.get("time")
    if known:
        outcome, detail = known
    elif isinstance(expires_at, int | float) and time.time() < expires_at:
        outcome, detail = "waiting", "not carried out yet"
    else:
        outcome, detail = "expired", "not carried out, and will not be"
    return GivenOrder(
        id=str(row.get("id")),
        given_at=float(given_at) if isinstance(given_at, int | float) else 0.0,
        action=str(row.get("action")),
        release=str(row.get("release")),
        reason=str(row.get("reason")),
        address=str(row.get("address")),
        outcome=outcome,
        detail=detail,
    )
