"""Retention: drop rows that are older than a number of days.

Age counts from the store's newest events, not from the clock, so that a store of old logs keeps
them until newer events arrive.
"""

from datetime import datetime, timedelta
from statistics import median_low

from app import logs
from app.ingest.store_files import TABLES, Table
from app.ingest.store_reader import StoreSnapshot, open_store
from app.ingest.store_writer import StoreWriter

_log = logs.get(__name__)


def drop_expired_rows(writer: StoreWriter, retention_days: int) -> int:
    """Drop rows of users and movies whose newest event is too old.

    Args:
        writer: writer of the store.
        retention_days: age limit in days; 0 keeps all rows.

    Returns:
        The number of dropped rows.
    """
    if retention_days == 0 or not writer.manifest.segment_names:
        return 0
    with open_store(writer.path) as snapshot:
        newest = newest_event_time(snapshot)
        if newest is None:
            return 0
        newest_day = datetime(newest.year, newest.month, newest.day)
        min_time = newest_day - timedelta(days=retention_days)
        expired = [table for table in TABLES if _has_older(snapshot, table, min_time)]
    dropped = sum(writer.drop_older(table, min_time) for table in expired)
    if expired:
        _log.info("expired rows were dropped from the store", before=str(min_time), rows=dropped)
    return dropped


def newest_event_time(snapshot: StoreSnapshot) -> datetime | None:
    """Return the time of the newest events, or None where no row has a time.

    It is the median of the newest times of all buckets: a corrupted line that seems to come from
    another century affects one bucket only.
    """
    newest = []
    for bucket in snapshot.buckets:
        ranges = [snapshot.read_time_range(table, bucket) for table in TABLES]
        if any(ranges):
            newest.append(max(times[1] for times in ranges if times))
    return median_low(newest) if newest else None


def _has_older(snapshot: StoreSnapshot, table: Table, min_time: datetime) -> bool:
    ranges = (snapshot.read_time_range(table, bucket) for bucket in snapshot.buckets)
    return any(times is not None and times[0] < min_time for times in ranges)
