"""Write orders, each with a line of the audit, note what became of them, and list both."""

import time
from dataclasses import dataclass
from pathlib import Path
from threading import Lock

from app import logs
from app.console.release_state import ReleaseState
from app.console.retraining_state import RetrainingState
from app.console.sources import SourceError
from app.order_audit import (
    AUDIT_FILE,
    GIVEN,
    OUTCOMES,
    AuditEntry,
    append_order,
    append_outcome,
    parse_entries,
)
from app.orders import Action, Order, create_order, remove_expired_orders, write_order

#: Orders that are listed.
MAX_LISTED = 20
_MAX_AUDIT_BYTES = 1_000_000
_log = logs.get(__name__)

#: What is known of orders: id -> outcome and its detail.
KnownOutcomes = dict[str, tuple[str, str]]


@dataclass(frozen=True)
class ListedOrder:
    """An order of the audit, with what became of it.

    Attributes:
        given: its line.
        outcome: `accepted`, `refused`, `done`, `failed`, `waiting` or `expired`.
        detail: of the outcome.
    """

    given: AuditEntry
    outcome: str
    detail: str


class Orders:
    """The orders of a directory.

    Args:
        directory: of the order files and the audit; created with the first order.
    """

    def __init__(self, directory: Path) -> None:
        self._directory = directory
        self._lock = Lock()
        self._recorded: KnownOutcomes | None = None

    def write(self, action: Action, release: str, reason: str, address: str) -> Order:
        """Write a line of the audit, and then the order.

        Args:
            action: what to do.
            release: id of the release that it is for; empty where there is none.
            reason: who gives it, and why.
            address: from where it was sent.

        Raises:
            OSError: one of them cannot be written; without the line there is no order.
        """
        order = create_order(action, release, reason)
        with self._lock:
            self._directory.mkdir(parents=True, exist_ok=True)
            append_order(self._directory, order, time.time(), address)
            remove_expired_orders(self._directory)
            write_order(self._directory, order)
        _log.warning("order given", id=order.id, action=action, release=release, reason=reason)
        return order

    def record_outcomes(
        self, release: ReleaseState | None, retraining: RetrainingState | None
    ) -> None:
        """Append a line of the audit for each outcome that is known and not yet in it.

        The processes that carry out orders record outcomes for themselves, and keep the newest.

        Raises:
            SourceError: the audit cannot be read or written.
        """
        known = merge_outcomes(release, retraining)
        with self._lock:
            if known == self._recorded:
                return
            try:
                entries = self._read_entries()
                recorded = {(entry.id, entry.outcome) for entry in entries}
                for given in entries:
                    outcome, detail = known.get(given.id, ("", ""))
                    if outcome in OUTCOMES and (given.id, outcome) not in recorded:
                        entry = AuditEntry(
                            given.id, outcome, time.time(), given.action, given.release, detail
                        )
                        append_outcome(self._directory, entry)
                        recorded.add((given.id, outcome))
            except OSError as error:
                raise SourceError(f"it cannot be read or written: {error.strerror}") from error
            self._recorded = known

    def list_newest(
        self, release: ReleaseState | None, retraining: RetrainingState | None
    ) -> list[ListedOrder]:
        """Return the newest orders, newest first.

        Args:
            release: has what the process of releases recorded.
            retraining: has what the scheduler recorded.

        Raises:
            OSError: the audit cannot be read.
        """
        entries = self._read_entries()
        recorded = {
            entry.id: (entry.outcome, entry.detail) for entry in entries if entry.outcome != GIVEN
        }
        known = recorded | merge_outcomes(release, retraining)
        given = [entry for entry in entries if entry.outcome == GIVEN]
        return [_describe(one, known.get(one.id)) for one in given[: -MAX_LISTED - 1 : -1]]

    def _read_entries(self) -> list[AuditEntry]:
        """The entries of the end of the audit, oldest first."""
        try:
            with (self._directory / AUDIT_FILE).open("rb") as file:
                file.seek(max(0, file.seek(0, 2) - _MAX_AUDIT_BYTES))
                return parse_entries(file.read())
        except FileNotFoundError:
            return []


def merge_outcomes(
    release: ReleaseState | None, retraining: RetrainingState | None
) -> KnownOutcomes:
    """Return what the process of releases and the scheduler say of orders."""
    return {
        **(retraining.orders if retraining else {}),
        **(release.orders if release else {}),
    }


def _describe(given: AuditEntry, known: tuple[str, str] | None) -> ListedOrder:
    if known:
        return ListedOrder(given, *known)
    if time.time() < given.expires_at:
        return ListedOrder(given, "waiting", "not carried out yet")
    return ListedOrder(given, "expired", "not carried out, and will not be")
