"""Back up and restore what cannot be made again: the database's rows and the event store.

The archive is a compressed tar file that is written and read as a stream, so that it can go through
a pipe out of a container. Its members: `backup.json` (format and schema revision), then
`<table>/<number>.jsonl` and `store/<file>`.
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
from app.cli_errors import MarqueeError
from app.ingest.store_copy import open_store_files, restore_store
from app.provenance.database import get_revision, insert_ignore, upgrade
from app.provenance.tables import metadata

_CHUNK_ROWS = 20_000
_FORMAT = 1
_HEADER = "backup.json"
_STORE = "store"
#: `reccom` last: the records that an interrupted restore has written can be traced.
_TABLES = ("tracking", "build", "configuration", "catalogue", "reccom")

_log = logs.get(__name__)


class BackupError(MarqueeError):
    """An archive that cannot be restored."""


def write_backup(engine: sa.Engine, store: Path, out: IO[bytes]) -> dict[str, int]:
    """Write an archive; return the number of rows of each table and of files of the store."""
    counts = dict.fromkeys((*_TABLES, _STORE), 0)
    with tarfile.open(fileobj=out, mode="w|gz") as archive:
        header = json.dumps({"format": _FORMAT, "revision": get_revision(engine)}).encode()
        _add_member(archive, _HEADER, io.BytesIO(header), len(header))
        # One transaction: a consistent snapshot of all tables.
        isolation = "SERIALIZABLE" if engine.dialect.name == "sqlite" else "REPEATABLE READ"
        with engine.connect().execution_options(isolation_level=isolation) as connection:
            for name in _TABLES:
                for number, rows in enumerate(_read_chunks(connection, metadata.tables[name])):
                    lines = b"".join(map(_encode_row, rows))
                    member = f"{name}/{number:06}.jsonl"
                    _add_member(archive, member, io.BytesIO(lines), len(lines))
                    counts[name] += len(rows)
        with open_store_files(store) as files:
            for file in files:
                _add_member(archive, f"{_STORE}/{file.name}", file.content, file.size)
                counts[_STORE] += 1
    return counts


def restore_backup(engine: sa.Engine, store: Path, source: IO[bytes]) -> dict[str, int]:
    """Restore an archive's rows, and its store unless the store has events already.

    Rows whose key exists are left as they are, so an interrupted restore may be repeated.

    Returns:
        The number of rows of each table and of files of the store that were read.

    Raises:
        BackupError: the archive is incomplete, not a backup, or of a later version.
        IngestError: another process writes the store, or it cannot be written.
    """
    if engine.dialect.name == "sqlite":
        upgrade(engine)
    counts = dict.fromkeys((*_TABLES, _STORE), 0)
    try:
        with ExitStack() as stack:
            archive = stack.enter_context(tarfile.open(fileobj=source, mode="r|gz"))
            files = stack.enter_context(restore_store(store))
            if files is None:
                _log.warning("the store has events already and is not restored", store=str(store))
            for member in _read_members(archive):
                file = archive.extractfile(member)
                folder, _, name = member.name.partition("/")
                if file is None or not name:
                    continue
                if folder in _TABLES:
                    counts[folder] += _restore_rows(engine, metadata.tables[folder], file)
                elif folder == _STORE and files:
                    files.write_file(name, file)
                    counts[_STORE] += 1
    except (tarfile.TarError, EOFError, OSError, ValueError) as error:
        raise BackupError(f"cannot restore the backup: {error}") from error
    return counts


def _add_member(archive: tarfile.TarFile, name: str, content: IO[bytes], size: int) -> None:
    member = tarfile.TarInfo(name)
    member.size = size
    archive.addfile(member, content)


def _read_chunks(connection: sa.Connection, table: sa.Table) -> Iterator[list[dict[str, Any]]]:
    """The rows in the order of their key, in chunks: MySQL's driver loads a whole result."""
    key = list(table.primary_key)
    query = sa.select(table).order_by(*key).limit(_CHUNK_ROWS)
    rows = [dict(row) for row in connection.execute(query).mappings()]
    while rows:
        yield rows
        after = query.where(key[0] >= rows[-1][key[0].name], _key_after(key, rows[-1]))
        rows = [dict(row) for row in connection.execute(after).mappings()]


def _key_after(key: list[sa.Column[Any]], row: dict[str, Any]) -> sa.ColumnElement[bool]:
    """Whether a key is after a row's; MariaDB uses the index for this form, not for tuples."""
    first, *others = key
    value = row[first.name]
    after: sa.ColumnElement[bool] = first > value
    return sa.or_(after, sa.and_(first == value, _key_after(others, row))) if others else after


def _encode_row(row: dict[str, Any]) -> bytes:
    encoded = {
        name: base64.b64encode(value).decode() if isinstance(value, bytes | bytearray) else value
        for name, value in row.items()
    }
    return json.dumps(encoded, separators=(",", ":")).encode() + b"\n"


def _restore_rows(engine: sa.Engine, table: sa.Table, lines: IO[bytes]) -> int:
    binary = [c.name for c in table.columns if isinstance(c.type, sa.LargeBinary)]
    rows = [json.loads(line) for line in lines]
    if unknown := sorted({name for row in rows for name in row} - set(table.columns.keys())):
        raise BackupError(
            f"the backup has a column {table.name}.{unknown[0]} that this version does not know: "
            "restore it with the version that made it"
        )
    for row in rows:
        encoded = {name: row[name] for name in binary if row.get(name) is not None}
        row.update({name: base64.b64decode(value) for name, value in encoded.items()})
    if rows:
        with engine.begin() as connection:
            insert_ignore(connection, table, rows)
    return len(rows)


def _read_members(archive: tarfile.TarFile) -> Iterator[tarfile.TarInfo]:
    """The members after the header.

    Raises:
        BackupError: the header is missing or of another format.
    """
    member = archive.next()
    content = archive.extractfile(member) if member and member.name == _HEADER else None
    number = None if content is None else json.load(content).get("format")
    if number != _FORMAT:
        found = "no backup" if number is None else f"a backup of format {number!r}"
        raise BackupError(f"{found}; this version reads format {_FORMAT}")
    yield from archive
