"""Remove one user from the spool and the database."""

import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import sqlalchemy as sa
from sqlalchemy.engine import make_url

from app import logs
from app.locks import LockHeldError, exclusive_lock
from app.provenance.database import DatabaseError
from app.provenance.quarantine import DIRECTORY as QUARANTINE
from app.provenance.record_format import (
    FORGOTTEN_USER,
    READABLE_FORMATS,
    decode_record,
    get_format,
    read_frames,
    replace_user,
)
from app.provenance.shipper import LOCK_FILE
from app.provenance.spool_writer import SEGMENT_SUFFIX, list_segments
from app.provenance.tables import reccom
from app.settings import Settings

_log = logs.get(__name__)


class SpoolInUseError(DatabaseError):
    """A shipper reads the spool."""


@contextmanager
def lock_spool(spool: Path) -> Iterator[None]:
    """Hold the lock of the spool's only shipper.

    Raises:
        SpoolInUseError: a shipper is running.
    """
    try:
        with exclusive_lock(spool / LOCK_FILE):
            yield
    except LockHeldError as error:
        raise SpoolInUseError(
            f"the spool {spool} is being read by a shipper ({error.owner}): stop it first"
        ) from error


def anonymize_spool(spool: Path, user: int) -> int:
    """Replace a user's records in the spool and its quarantine; the shipper leaves them out.

    Records are replaced in place, by ones of the same length: processes of the service may be
    appending others to the same file. Those that a process has not finished writing, or that
    cannot be read, stay.

    Returns:
        The number of records.
    """
    replaced = 0
    for segment in (*list_segments(spool), *list_segments(spool / QUARANTINE)):
        try:
            replaced += _anonymize_segment(segment, user)
        except FileNotFoundError:  # removed because the spool is full
            continue
    return replaced


def _anonymize_segment(segment: Path, user: int) -> int:
    number, replaced = get_format(segment.name, SEGMENT_SUFFIX), 0
    if number not in READABLE_FORMATS:
        return 0
    descriptor = os.open(segment, os.O_RDWR | os.O_CLOEXEC)
    try:
        data = os.pread(descriptor, os.fstat(descriptor).st_size, 0)
        for payload, end in read_frames(data):
            try:
                record = decode_record(payload, number)
            except ValueError:  # the header, or a record of another format
                continue
            if record.user_id == user:
                frame = replace_user(payload, FORGOTTEN_USER)
                os.pwrite(descriptor, frame, end - len(frame))
                replaced += 1
        if replaced:
            os.fsync(descriptor)
    finally:
        os.close(descriptor)
    return replaced


def has_database(settings: Settings) -> bool:
    """Whether there is a database: always one on a server, of SQLite if its file exists."""
    url = make_url(settings.database)
    return url.get_backend_name() != "sqlite" or Path(url.database or "").exists()


def delete_records(engine: sa.Engine, user: int) -> int:
    """Delete a user's records, as the owner of the tables; return their number.

    SQLite also overwrites what it frees, in the file and in its write-ahead log.

    Raises:
        SQLAlchemyError: the database is unreachable or refuses.
        DatabaseError: the records are deleted, but another process reads the database of SQLite,
            and so its write-ahead log, which still has them.
    """
    in_sqlite = engine.dialect.name == "sqlite"
    with engine.connect() as connection:
        if in_sqlite:
            connection.exec_driver_sql("PRAGMA secure_delete = ON")
        deleted = connection.execute(sa.delete(reccom).where(reccom.c.user_id == user)).rowcount
        connection.commit()
        if in_sqlite:
            is_busy, *_ = connection.exec_driver_sql("PRAGMA wal_checkpoint(TRUNCATE)").one()
            if is_busy:
                raise DatabaseError(
                    "the records are deleted, but the write-ahead log of the database still has "
                    "them while another process reads it: repeat the command when that has ended"
                )
    return deleted
