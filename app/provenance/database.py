"""The database: connections, migrations, inserts that may be repeated, and retention."""

import logging
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import sqlalchemy as sa
from mysql.connector.errorcode import ER_LOCK_WAIT_TIMEOUT
from sqlalchemy.engine import URL, make_url
from sqlalchemy.exc import DBAPIError, SQLAlchemyError
from tenacity import Retrying, retry_if_exception_type, stop_after_delay, wait_fixed

from app import logs
from app.cli_errors import MarqueeError
from app.provenance.tables import US_PER_DAY, reccom
from app.settings import Settings

_log = logs.get(__name__)

_CONNECT_TIMEOUT_SECONDS = 5
_STATEMENT_TIMEOUT_SECONDS = 60
_PARTITION_LOCK_TIMEOUT_SECONDS = 2


class DatabaseError(MarqueeError):
    """The database is unreachable or refused a statement; the message is the database's."""


@contextmanager
def translate_errors() -> Iterator[None]:
    """Turn the errors of SQLAlchemy into `DatabaseError`."""
    try:
        yield
    except SQLAlchemyError as error:
        raise DatabaseError(f"database: {describe_error(error)}") from error


def describe_error(error: SQLAlchemyError) -> str:
    """The database's message in one line, without the statement and its values."""
    return str(getattr(error, "orig", None) or error).splitlines()[0][:300]


def connect(settings: Settings) -> sa.Engine:
    """An engine for the configured database; it connects when it is first used."""
    url = make_url(settings.database)
    if url.get_backend_name() == "sqlite":
        return _connect_sqlite(url)
    password = settings.database_password.get_secret_value()
    return sa.create_engine(
        url.set(password=password or None),
        pool_pre_ping=True,
        pool_recycle=600,
        isolation_level="READ COMMITTED",
        connect_args={
            "connection_timeout": _CONNECT_TIMEOUT_SECONDS,
            "read_timeout": _STATEMENT_TIMEOUT_SECONDS,
            "write_timeout": _STATEMENT_TIMEOUT_SECONDS,
            "charset": "utf8mb4",
            "collation": "utf8mb4_bin",
        },
    )


def _connect_sqlite(url: URL) -> sa.Engine:
    if url.database:
        Path(url.database).parent.mkdir(parents=True, exist_ok=True)
    # No pool: a connection costs less than a millisecond, and none is left open at exit.
    engine = sa.create_engine(
        url, connect_args={"timeout": _CONNECT_TIMEOUT_SECONDS}, poolclass=sa.NullPool
    )

    @sa.event.listens_for(engine, "connect")
    def _set_pragmas(connection: Any, _: object) -> None:
        connection.execute("PRAGMA journal_mode=WAL")  # readers do not wait for the shipper
        connection.execute("PRAGMA synchronous=FULL")

    return engine


def wait_until_connected(engine: sa.Engine, timeout_seconds: float) -> None:
    """Connect, and try again every second; the server may be starting or changing a password.

    Raises:
        SQLAlchemyError: the connection still fails after `timeout_seconds`.
    """
    for attempt in Retrying(
        retry=retry_if_exception_type(SQLAlchemyError),
        wait=wait_fixed(1),
        stop=stop_after_delay(timeout_seconds),
        reraise=True,
    ):
        with attempt, engine.connect():
            pass


def upgrade(engine: sa.Engine) -> None:
    """Run the migrations that were not run yet.

    Tables that a later version has migrated stay as they are: the version before can use them.
    """
    logging.getLogger("alembic.runtime.plugins").setLevel(logging.WARNING)
    from alembic import command  # noqa: PLC0415 - slow to import, and needed for migrations only
    from alembic.config import Config  # noqa: PLC0415
    from alembic.script import ScriptDirectory  # noqa: PLC0415

    config = Config()
    config.set_main_option("script_location", str(Path(__file__).parent / "migrations"))
    known = {script.revision for script in ScriptDirectory.from_config(config).walk_revisions()}
    if (revision := get_revision(engine)) is not None and revision not in known:
        _log.warning("the tables are of a later version; nothing is changed", revision=revision)
        return
    with engine.begin() as connection:
        config.attributes["connection"] = connection
        command.upgrade(config, "head")


def get_revision(engine: sa.Engine) -> str | None:
    """The revision of the schema; None before the first migration."""
    with engine.connect() as connection:
        if not sa.inspect(connection).has_table("alembic_version"):
            return None
        found: str | None = connection.scalar(sa.text("select version_num from alembic_version"))
        return found


def insert_ignore(
    connection: sa.Connection, table: sa.Table, rows: Sequence[Mapping[str, Any]]
) -> None:
    """Insert rows, except those whose key is in the table already."""
    ignore = "OR IGNORE" if connection.dialect.name == "sqlite" else "IGNORE"
    connection.execute(sa.insert(table).prefix_with(ignore), list(rows))


def enforce_retention(engine: sa.Engine, now_us: int, retention_days: int) -> None:
    """Delete records older than `retention_days`; in MariaDB, also create coming partitions.

    Partitions are created three days ahead. A long read of the table, such as a backup, makes
    MariaDB's part time out and do nothing: inserts would otherwise have to wait behind it.
    """
    today = now_us // US_PER_DAY
    with engine.begin() as connection:
        if connection.dialect.name == "sqlite":
            connection.execute(sa.delete(reccom).where(reccom.c.day < today - retention_days))
        else:
            _maintain_partitions(connection, today, retention_days)


def _maintain_partitions(connection: sa.Connection, today: int, retention_days: int) -> None:
    connection.exec_driver_sql(
        "SET SESSION lock_wait_timeout = %s", (_PARTITION_LOCK_TIMEOUT_SECONDS,)
    )
    try:
        connection.exec_driver_sql(
            "CALL reccom_maintain_partitions(%s, %s)", (int(today), int(retention_days))
        )
    except DBAPIError as error:
        if getattr(error.orig, "errno", None) != ER_LOCK_WAIT_TIMEOUT:
            raise
        _log.info("the table is being read; partitions are maintained an hour later")
    finally:
        if not connection.invalidated:
            connection.exec_driver_sql("SET SESSION lock_wait_timeout = DEFAULT")
