"""The database: connections, migrations, inserts that may be repeated, and retention."""

import logging
import os
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any
from urllib.parse import quote

import sqlalchemy as sa
from mysql.connector.errorcode import ER_LOCK_WAIT_TIMEOUT
from sqlalchemy.engine import URL, make_url
from sqlalchemy.exc import DBAPIError, SQLAlchemyError
from tenacity import Retrying, retry_if_exception_type, stop_after_delay, wait_fixed

from app import logs
from app.cli_errors import MarqueeError
from app.provenance.tables import US_PER_DAY, reccom, upkeep
from app.settings import Settings

if TYPE_CHECKING:
    from alembic.config import Config

_log = logs.get(__name__)

_CONNECT_TIMEOUT_SECONDS = 5
_STATEMENT_TIMEOUT_SECONDS = 60
_PARTITION_LOCK_TIMEOUT_SECONDS = 2
#: Of those that people wait for: to connect, and for a statement.
_READER_TIMEOUT_SECONDS = 3
#: More days than this between two upkeeps are a jump of the clock, and so is a step back.
_MAX_STEP_DAYS = 3
#: Days after a jump on which no record is deleted.
_HOLD_DAYS = 7


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
    return _connect_mysql(url, settings, _CONNECT_TIMEOUT_SECONDS, _STATEMENT_TIMEOUT_SECONDS)


def connect_reader(settings: Settings) -> sa.Engine:
    """An engine that only reads, with time-outs of seconds, for pages that people wait for."""
    url = make_url(settings.database)
    if url.get_backend_name() == "sqlite":
        file = quote(str(Path(url.database or "").absolute()))
        return sa.create_engine(
            f"sqlite:///file:{file}?mode=ro&uri=true",
            connect_args={"timeout": _READER_TIMEOUT_SECONDS},
            poolclass=sa.NullPool,
        )
    engine = _connect_mysql(url, settings, _READER_TIMEOUT_SECONDS, _READER_TIMEOUT_SECONDS)

    @sa.event.listens_for(engine, "connect")
    def _limit_statements(connection: Any, _: object) -> None:
        # The server would go on with a statement for which no client waits any more.
        with connection.cursor() as cursor:
            cursor.execute(f"SET SESSION max_statement_time = {_READER_TIMEOUT_SECONDS}")
            cursor.execute("SET SESSION TRANSACTION READ ONLY")

    return engine


def _connect_mysql(
    url: URL, settings: Settings, connect_timeout: int, statement_timeout: int
) -> sa.Engine:
    password = settings.database_password.get_secret_value()
    return sa.create_engine(
        url.set(password=password or None),
        pool_pre_ping=True,
        pool_recycle=600,
        isolation_level="READ COMMITTED",
        connect_args={
            "connection_timeout": connect_timeout,
            "read_timeout": statement_timeout,
            "write_timeout": statement_timeout,
            "charset": "utf8mb4",
            "collation": "utf8mb4_bin",
            **_tls_options(settings.database_ca),
        },
    )


def _tls_options(ca: str) -> dict[str, Any]:
    """Options of the driver to verify the server's certificate and name; none without a CA."""
    if not ca:
        return {}
    # The driver takes a path only. The file has no name, and lasts as long as the process.
    descriptor = os.memfd_create("database-ca")
    os.write(descriptor, ca.encode())
    path = f"/proc/self/fd/{descriptor}"
    return {"ssl_ca": path, "ssl_verify_cert": True, "ssl_verify_identity": True}


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
    from alembic import command  # noqa: PLC0415 - slow to import, and needed for migrations only

    revision = get_revision(engine)
    if revision is not None and revision not in list_revisions():
        _log.warning("the tables are of a later version; nothing is changed", revision=revision)
        return
    config = _configure_alembic()
    with engine.begin() as connection:
        config.attributes["connection"] = connection
        command.upgrade(config, "head")


def list_revisions() -> list[str]:
    """The revisions of the schema that this version knows, oldest first."""
    from alembic.script import ScriptDirectory  # noqa: PLC0415 - as above

    scripts = ScriptDirectory.from_config(_configure_alembic()).walk_revisions()
    return [script.revision for script in scripts][::-1]


def _configure_alembic() -> "Config":
    logging.getLogger("alembic.runtime.plugins").setLevel(logging.WARNING)
    from alembic.config import Config  # noqa: PLC0415 - as above

    config = Config()
    config.set_main_option("script_location", str(Path(__file__).parent / "migrations"))
    return config


def get_revision(engine: sa.Engine) -> str | None:
    """The revision of the schema; None before the first migration."""
    with engine.connect() as connection:
        return read_revision(connection)


def read_revision(connection: sa.Connection) -> str | None:
    """The revision of the schema as a connection's transaction reads it; None without one."""
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


def set_retention(engine: sa.Engine, days: int) -> None:
    """Set, as the owner of the tables, for how many days the upkeep keeps records."""
    with engine.begin() as connection:
        connection.execute(sa.update(upkeep).values(retention_days=days))


def enforce_retention(engine: sa.Engine, now_us: int, retention_days: int) -> None:
    """Delete old records; in MariaDB, also create the partitions of the coming three days.

    MariaDB takes the day from its own clock, and the retention from what its owner has set
    (`set_retention`): the recording user can make it drop neither more nor earlier. A long read of
    the table, such as a backup, makes it time out and do nothing: inserts would otherwise have to
    wait behind it.

    After a jump of the clock nothing is deleted for 7 days (migration `0003_upkeep`).

    Args:
        engine: of the recording user, or of SQLite.
        now_us: the time in microseconds since 1970; used in SQLite.
        retention_days: days for which records are kept; used in SQLite.
    """
    with engine.begin() as connection:
        if connection.dialect.name == "sqlite":
            _delete_old_records(connection, now_us // US_PER_DAY, retention_days)
        else:
            _maintain_partitions(connection)
        state = connection.execute(sa.select(upkeep)).one()
    if state.checked_day is not None and state.checked_day < state.resume_day:
        _log.warning(
            "the clock has jumped, or nothing was recorded for days: no record is deleted for now",
            days=state.resume_day - state.checked_day,
        )
    if engine.dialect.name != "sqlite" and state.retention_days != retention_days:
        _log.warning(
            "the database keeps records for another time; run `marquee migrate` as its owner",
            days=state.retention_days,
            setting=retention_days,
        )


def _delete_old_records(connection: sa.Connection, today: int, retention_days: int) -> None:
    """What `reccom_upkeep_at` does in MariaDB."""
    checked_day, resume_day = connection.execute(
        sa.select(upkeep.c.checked_day, upkeep.c.resume_day)
    ).one()
    if checked_day is not None and not 0 <= today - checked_day <= _MAX_STEP_DAYS:
        resume_day = today + _HOLD_DAYS
    connection.execute(sa.update(upkeep).values(checked_day=today, resume_day=resume_day))
    if resume_day <= today:
        connection.execute(sa.delete(reccom).where(reccom.c.day < today - retention_days))


def _maintain_partitions(connection: sa.Connection) -> None:
    connection.exec_driver_sql(
        "SET SESSION lock_wait_timeout = %s", (_PARTITION_LOCK_TIMEOUT_SECONDS,)
    )
    try:
        connection.exec_driver_sql("CALL reccom_upkeep()")
    except DBAPIError as error:
        if getattr(error.orig, "errno", None) != ER_LOCK_WAIT_TIMEOUT:
            raise
        _log.info("the table is being read; partitions are maintained an hour later")
    finally:
        if not connection.invalidated:
            connection.exec_driver_sql("SET SESSION lock_wait_timeout = DEFAULT")
