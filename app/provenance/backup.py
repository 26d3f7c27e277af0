"""Everything that cannot be made again, in one archive: the database's rows and the event store.

The archive is written and read as a stream, so that it can go through a pipe out of a container.
"""

import base64
import io
import json
import tarfile
from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path
from typing import IO, Any

import sqlalchemy as sa

from app import logs
from app.ingest.store_copy import open_store_files, restore_store
from app.provenance.database import insert, revision, upgrade
from app.provenance.errors import BackupError
from app.provenance.tables import metadata

_ROWS = 20_000
_FORMAT = 1
_HEAD = "backup.json"
_STORE = "store"
#: Answers last: whatever was restored before an interruption can be explained.
_TABLES = ("tracking", "build", "catalogue", "reccom")

_log = logs.get(__name__)


def back_up(engine: sa.Engine, store: Path, out: IO[bytes]) -> dict[str, int]:
    """Write an archive; how many rows of each table and files of the store are in it."""
    held = dict.fromkeys((*_TABLES, _STORE), 0)
    with tarfile.open(fileobj=out, mode="w|gz") as archive:
        head = json.dumps({"format": _FORMAT, "revision": revision(engine)}).encode()
        _add(archive, _HEAD, io.BytesIO(head), len(head))
        # One transaction: the tables as they were at one moment.
        isolation = "SERIALIZABLE" if engine.dialect.name == "sqlite" else "REPEATABLE READ"
        with engine.connect().execution_options(isolation_level=isolation) as connection:
            for name in _TABLES:
                for number, rows in enumerate(_chunks(connection, metadata.tables[name])):
                    lines = b"".join(map(_to_line, rows))
                    _add(archive, f"{name}/{number:06}.jsonl", io.BytesIO(lines), len(lines))
                    held[name] += len(rows)
        with open_store_files(store) as files:
            for file in files:
                _add(archive, f"{_STORE}/{file.name}", file.content, file.size)
                held[_STORE] += 1
    return held


def restore(engine: sa.Engine, store: Path, source: IO[bytes]) -> dict[str, int]:
    """Put an archive's rows into a database, and its store where none holds events.

    Rows that are there already stay as they are, so an interrupted restore may be run again.

    Raises:
        BackupError: not a whole archive of ours.
        IngestError: the store is being written by another process, or cannot be.
    """
    if engine.dialect.name == "sqlite":
        upgrade(engine)
    held = dict.fromkeys((*_TABLES, _STORE), 0)
    try:
        with ExitStack() as stack:
            archive = stack.enter_context(tarfile.open(fileobj=source, mode="r|gz"))
            files = stack.enter_context(restore_store(store))
            if files is None:
                _log.warning("the store holds events already and stays as it is", store=str(store))
            for member in _members(archive):
                file = archive.extractfile(member)
                folder, _, name = member.name.partition("/")
                if file is None or not name:
                    continue
                if folder in _TABLES:
                    held[folder] += _restore_rows(engine, metadata.tables[folder], file)
                elif folder == _STORE and files:
                    files.write_file(name, file)
                    held[_STORE] += 1
    except (tarfile.TarError, EOFError, OSError, ValueError) as error:
        raise BackupError(f"not a whole backup: {error}") from error
    return held


def _add(archive: tarfile.TarFile, name: str, content: IO[bytes], size: int) -> None:
    member = tarfile.TarInfo(name)
    member.size = size
    archive.addfile(member, content)


def _chunks(connection: sa.Connection, table: sa.Table) -> Iterator[list[dict[str, Any]]]:
    """Rows in the order of their key, some at a time: MySQL's driver holds a result whole."""
    key = list(table.primary_key)
    query = sa.select(table).order_by(*key).limit(_ROWS)
    rows = [dict(row) for row in connection.execute(query).mappings()]
    while rows:
        yield rows
        later = query.where(key[0] >= rows[-1][key[0].name], _beyond(key, rows[-1]))
        rows = [dict(row) for row in connection.execute(later).mappings()]


def _beyond(key: list[sa.Column[Any]], row: dict[str, Any]) -> sa.ColumnElement[bool]:
    """Whether a key comes after a row's; so spelt, MariaDB looks it up (not `(a, b) > (1, 2)`)."""
    first, *others = key
    value = row[first.name]
    later: sa.ColumnElement[bool] = first > value
    return sa.or_(later, sa.and_(first == value, _beyond(others, row))) if others else later


def _to_line(row: dict[str, Any]) -> bytes:
    plain = {
        name: base64.b64encode(value).decode() if isinstance(value, bytes | bytearray) else value
        for name, value in row.items()
    }
    return json.dumps(plain, separators=(",", ":")).encode() + b"\n"


def _restore_rows(engine: sa.Engine, table: sa.Table, lines: IO[bytes]) -> int:
    binary = [c.name for c in table.columns if isinstance(c.type, sa.LargeBinary)]
    rows = [json.loads(line) for line in lines]
    for row in rows:
        row.update({name: base64.b64decode(row[name]) for name in binary})
    if rows:
        with engine.begin() as connection:
            insert(connection, table, rows)
    return len(rows)


def _members(archive: tarfile.TarFile) -> Iterator[tarfile.TarInfo]:
    head = archive.next()
    content = archive.extractfile(head) if head and head.name == _HEAD else None
    if content is None or json.load(content).get("format") != _FORMAT:
        raise BackupError("not a backup that this version can read")
    yield from archive
