"""What is older than a store keeps: counted from its own newest events, not from the clock.

So a store of old logs keeps them until newer ones come.
"""

from datetime import datetime, timedelta
from statistics import median_low

from app import logs
from app.ingest.manifest import TABLES, Table
from app.ingest.store import Snapshot, open_store
from app.ingest.writer import Writer

_log = logs.get(__name__)


def expire(writer: Writer, days: int) -> int:
    """Drop users' movies whose newest event is older than so many days; how many. 0 days: none."""
    if days == 0 or not writer.manifest.names:
        return 0
    with open_store(writer.path) as view:
        newest = newest_moment(view)
        if newest is None:
            return 0
        limit = datetime(newest.year, newest.month, newest.day) - timedelta(days=days)
        stale = [table for table in TABLES if _has_older(view, limit, table)]
    dropped = sum(writer.rewrite(table, limit) for table in stale)
    if stale:
        _log.info("the store was rewritten without old rows", before=str(limit), rows=dropped)
    return dropped


def newest_moment(view: Snapshot) -> datetime | None:
    """When the newest event came, about; None where nothing has a time.

    The middle one of the buckets' newest: a damaged line that looks centuries away is in one.
    """
    ranges = [(view.times("watches", b), view.times("ratings", b)) for b in view.buckets]
    newest = [max(found[1] for found in pair if found) for pair in ranges if any(pair)]
    return median_low(newest) if newest else None


def _has_older(view: Snapshot, limit: datetime, table: Table) -> bool:
    ranges = (view.times(table, bucket) for bucket in view.buckets)
    return any(found is not None and found[0] < limit for found in ranges)
