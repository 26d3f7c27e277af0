"""The database: connecting, bringing the schema up to date, writing rows that may come twice."""

import logging
import re
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import sqlalchemy as sa
from mysql.connector.errorcode import ER_LOCK_WAIT_TIMEOUT
from sqlalchemy.engine import URL, make_url
from sqlalchemy.exc import DBAPIError, SQLAlchemyError

from app import logs
from app.provenance.tables import reccom
from app.settings import Settings

_log = logs.get(__name__)

#: A database that does not answer within these seconds is away.
_CONNECT_SECONDS = 5
_STATEMENT_SECONDS = 60
_UPKEEP_WAITS_SECONDS = 2
_DAY = 86_400_000_000  # microseconds
_EDGE_ID = re.compile(r"(\d{10})\.(\d{3})-")  # seconds, milliseconds, chance (nginx.conf)
_SLOT_ID = re.compile(r"(1[0-9a-f]{15})[0-9a-f]{8}")  # nanoseconds, chance (app.service.recommend)


def connect(settings: Settings) -> sa.Engine:
    """An engine for the configured database; connects when it is first used."""
    url = make_url(settings.database)
    if url.get_backend_name() == "sqlite":
        return _sqlite(url)
    password = settings.database_password.get_secret_value()
    return sa.create_engine(
        url.set(password=password or None),
        pool_pre_ping=True,
        pool_recycle=600,
        isolation_level="READ COMMITTED",
        connect_args={
            "connection_timeout": _CONNECT_SECONDS,
            "read_timeout": _STATEMENT_SECONDS,
            "write_timeout": _STATEMENT_SECONDS,
            "charset": "utf8mb4",
            "collation": "utf8mb4_bin",
        },
    )


def _sqlite(url: URL) -> sa.Engine:
    if url.database:
        Path(url.database).parent.mkdir(parents=True, exist_ok=True)
    engine = sa.create_engine(url, connect_args={"timeout": _CONNECT_SECONDS})

    @sa.event.listens_for(engine, "connect")
    def _set_up(connection: Any, _: object) -> None:
        connection.execute("PRAGMA journal_mode=WAL")  # readers do not wait for the shipper
        connection.execute("PRAGMA synchronous=FULL")

    return engine


def upgrade(engine: sa.Engine) -> None:
    """Bring the schema up to date; changes nothing where it is."""
    logging.getLogger("alembic.runtime.plugins").setLevel(logging.WARNING)
    from alembic import command  # noqa: PLC0415 - only who changes the schema waits for it
    from alembic.config import Config  # noqa: PLC0415

    config = Config()
    config.set_main_option("script_location", str(Path(__file__).parent / "migrations"))
    with engine.begin() as connection:
        config.attributes["connection"] = connection
        command.upgrade(config, "head")


def revision(engine: sa.Engine) -> str | None:
    """The revision of the schema; None where there is none."""
    with engine.connect() as connection:
        if not sa.inspect(connection).has_table("alembic_version"):
            return None
        found: str | None = connection.scalar(sa.text("select version_num from alembic_version"))
        return found


def insert(connection: sa.Connection, table: sa.Table, rows: Sequence[Mapping[str, Any]]) -> None:
    """Insert rows; those whose key is there already change nothing."""
    ignore = "OR IGNORE" if connection.dialect.name == "sqlite" else "IGNORE"
    connection.execute(sa.insert(table).prefix_with(ignore), list(rows))


def upkeep(engine: sa.Engine, now: int, keep_days: int) -> None:
    """Drop answers older than `keep_days`; in MariaDB, make the coming days' partitions.

    There it is left for the next time while somebody reads the table for long, as a backup does:
    inserts would have to wait behind it. Partitions are made three days ahead.
    """
    today = now // _DAY
    with engine.begin() as connection:
        if connection.dialect.name == "sqlite":
            connection.execute(sa.delete(reccom).where(reccom.c.day < today - keep_days))
        else:
            _call_upkeep(connection, today, keep_days)


def _call_upkeep(connection: sa.Connection, today: int, keep_days: int) -> None:
    connection.exec_driver_sql("SET SESSION lock_wait_timeout = %s", (_UPKEEP_WAITS_SECONDS,))
    try:
        connection.exec_driver_sql("CALL reccom_upkeep(%s, %s)", (int(today), int(keep_days)))
    except DBAPIError as error:
        if getattr(error.orig, "errno", None) != ER_LOCK_WAIT_TIMEOUT:
            raise
        _log.info("answers are being read; partitions are kept up the next time")
    finally:
        if not connection.invalidated:
            connection.exec_driver_sql("SET SESSION lock_wait_timeout = DEFAULT")


def day_of(request_id: str, time: int) -> int:
    """The day a request belongs to: that of its id, or of the answer where the id tells none."""
    return (time_of_id(request_id) or time) // _DAY


def time_of_id(request_id: str) -> int | None:
    """When a request came (microseconds since 1970), by an id of the edge or of a slot."""
    if of_edge := _EDGE_ID.match(request_id):
        return int(of_edge[1] + of_edge[2]) * 1000
    if of_slot := _SLOT_ID.fullmatch(request_id):
        return int(of_slot[1], 16) // 1000
    return None


def plainly(error: SQLAlchemyError) -> str:
    """One line for a person: what the database said, without the statement and its values."""
    return str(getattr(error, "orig", None) or error).splitlines()[0][:300]
