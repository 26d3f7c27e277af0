"""Answer a query with DuckDB over exports and event store: read-only, bounded in memory and time.

DuckDB may open the files of the views and no other, cannot write to one, and its settings are
locked. Files are opened before the query and named by their descriptors, so that a collector or an
export that replaces them meanwhile changes nothing.
"""

import resource
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path
from threading import Timer
from typing import IO, Any

import duckdb

from app.ingest.metadata_files import METADATA_DIR, METADATA_FILES
from app.ingest.store_files import TABLES, open_segments
from app.telemetry.errors import TelemetryError
from app.telemetry.exports import ExportDirectory

_FETCHED_ROWS = 1000
_READING = (duckdb.StatementType.SELECT, duckdb.StatementType.EXPLAIN)

#: The views, with the columns of those without a file.
_EMPTY = {
    "answers": "day date, answered_at timestamptz, request_id varchar, slot varchar, "
    "version integer, build_id varchar, user_id bigint, source varchar, duration_us bigint, "
    "client_gone boolean, is_retry boolean, movies varchar[]",
    "watches": "user_id bigint, movie_id varchar, minutes usmallint[], first_time timestamp, "
    "last_time timestamp",
    "ratings": "user_id bigint, movie_id varchar, rating float, time timestamp",
}
#: A row of a user and movie may be in several segments of the store.
_MERGED = {
    "watches": "SELECT user_id, movie_id, len(list_distinct(flatten(list(minutes)))) AS minutes, "
    "min(first_time) AS first_time, max(last_time) AS last_time FROM {rows} "
    "GROUP BY user_id, movie_id",
    "ratings": "SELECT user_id, movie_id, arg_max(rating, (coalesce(time, TIMESTAMP "
    "'0001-01-01'), rating)) AS rating, max(time) AS time FROM {rows} GROUP BY user_id, movie_id",
}
_SMALL = ("versions", "builds", "quality")


@dataclass(frozen=True)
class QueryLimits:
    """What a query may need.

    Attributes:
        memory_mb: MiB of memory of DuckDB.
        timeout_seconds: after which it is stopped.
        temp_dir: where it writes what does not fit into memory.
        temp_mb: MiB of it.
        threads: of the query.
    """

    memory_mb: int
    timeout_seconds: float
    temp_dir: Path
    temp_mb: int
    threads: int = 2


@dataclass(frozen=True)
class QueryResult:
    """The names of the columns, and the rows as they are read."""

    columns: list[str]
    rows: Iterator[tuple[Any, ...]]


@contextmanager
def run_query(sql: str, exports: Path, store: Path, limits: QueryLimits) -> Iterator[QueryResult]:
    """Run one statement; its rows can be read until the context ends.

    Args:
        sql: a SELECT, or EXPLAIN of one.
        exports: directory of the exports; without it there are no answers.
        store: directory of the event store; without it there are no events.
        limits: of the query.

    Raises:
        TelemetryError: a statement that does not only read, an error in it, or a limit was
            exceeded (also while rows are read).
        IngestError: the store is damaged.
    """
    with ExitStack() as stack:
        connection = stack.enter_context(duckdb.connect(":memory:"))
        files = _open_files(stack, exports, store)
        _configure(connection, limits)
        _create_views(connection, {view: [*map(_name, found)] for view, found in files.items()})
        _lock(connection, [file for found in files.values() for file in found])
        timer = Timer(limits.timeout_seconds, connection.interrupt)
        timer.daemon = True
        stack.callback(timer.cancel)
        with _translate_errors(limits):
            statement = _parse(connection, sql)
            timer.start()
            connection.execute(statement)
        columns = [column[0] for column in connection.description or []]
        yield QueryResult(columns, _fetch(connection, limits))


def _open_files(stack: ExitStack, exports: Path, store: Path) -> dict[str, list[IO[bytes]]]:
    """Open the files of all views."""
    hard = resource.getrlimit(resource.RLIMIT_NOFILE)[1]
    resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))  # one a day of exports
    paths = {name: [exports / f"{name}.parquet"] for name in _SMALL}
    paths["answers"] = ExportDirectory(exports).list_days()
    for name in METADATA_FILES:
        paths[Path(name).stem] = [store / METADATA_DIR / name]
    files: dict[str, list[IO[bytes]]] = {
        view: [stack.enter_context(path.open("rb")) for path in found if path.is_file()]
        for view, found in paths.items()
    }
    manifest, segments = stack.enter_context(open_segments(store, lambda path: path.open("rb")))
    for table in TABLES:
        names = [segment.name for segment in manifest.segments(table)] if manifest else []
        files[table] = [segments[name] for name in names]
    return files


def _name(file: IO[bytes]) -> str:
    return f"/proc/self/fd/{file.fileno()}"


def _configure(connection: duckdb.DuckDBPyConnection, limits: QueryLimits) -> None:
    limits.temp_dir.mkdir(parents=True, exist_ok=True)
    values = {
        "memory_limit": f"{limits.memory_mb}MiB",
        "threads": limits.threads,
        "temp_directory": str(limits.temp_dir),
        "max_temp_directory_size": f"{limits.temp_mb}MiB",
        "preserve_insertion_order": False,
        "autoinstall_known_extensions": False,
        "autoload_known_extensions": False,
        "TimeZone": "UTC",
    }
    for name, value in values.items():
        connection.execute(f"SET {name} = {_literal(value)}")


def _create_views(connection: duckdb.DuckDBPyConnection, files: dict[str, list[str]]) -> None:
    for view, paths in files.items():
        if paths:
            rows = f"read_parquet({_literal(paths)})"
        elif view in _EMPTY:
            connection.execute(f"CREATE TABLE no_{view} ({_EMPTY[view]})")
            rows = f"no_{view}"
        else:
            continue
        query = _MERGED.get(view, "SELECT * FROM {rows}").format(rows=rows)
        connection.execute(f"CREATE VIEW {view} AS {query}")


def _lock(connection: duckdb.DuckDBPyConnection, files: list[IO[bytes]]) -> None:
    """Allow the files alone, and lock the settings.

    DuckDB resolves the link of a descriptor when it opens it. To the path of a file that was
    removed or replaced meanwhile, the kernel appends " (deleted)".
    """
    paths = [str(Path(_name(file)).resolve()) for file in files]
    allowed = [*paths, *(f"{path} (deleted)" for path in paths)]
    connection.execute(f"SET allowed_paths = {_literal(allowed)}")
    connection.execute("SET enable_external_access = false")
    connection.execute("SET lock_configuration = true")


def _parse(connection: duckdb.DuckDBPyConnection, sql: str) -> duckdb.Statement:
    statements: Sequence[duckdb.Statement] = connection.extract_statements(sql)
    if len(statements) != 1 or statements[0].type not in _READING:
        raise TelemetryError("not a query: one statement that begins with SELECT, WITH or EXPLAIN")
    return statements[0]


def _fetch(connection: duckdb.DuckDBPyConnection, limits: QueryLimits) -> Iterator[tuple[Any, ...]]:
    while True:
        with _translate_errors(limits):
            rows = connection.fetchmany(_FETCHED_ROWS)
        if not rows:
            return
        yield from rows


@contextmanager
def _translate_errors(limits: QueryLimits) -> Iterator[None]:
    try:
        yield
    except duckdb.InterruptException as error:
        raise TelemetryError(
            f"the query was stopped after {limits.timeout_seconds:g} s (--timeout)"
        ) from error
    except duckdb.OutOfMemoryException as error:
        raise TelemetryError(
            f"the query needs more than {limits.memory_mb} MiB of memory (--memory-mb) and "
            f"{limits.temp_mb} MiB on disk"
        ) from error
    except duckdb.Error as error:
        raise TelemetryError(str(error).strip()) from error


def _literal(value: Any) -> str:
    """A value as a literal of SQL."""
    if isinstance(value, bool | int):
        return str(value).lower()
    if isinstance(value, list):
        return "[" + ", ".join(map(_literal, value)) + "]"
    return "'" + str(value).replace("'", "''") + "'"
