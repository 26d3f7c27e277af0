"""Back up and restore what cannot be made again: the database's rows and the event store.

The archive is a compressed tar file that is written and read as a stream, so that it can go through
a pipe out of a container. Its members: `backup.json` (format and schema revision), then
`<table>/<number>.jsonl` and `store/<file>`, and at the end `end.json` with the number of rows of
each table and of files of the store. An archive without its end was cut, and is refused.
"""

import base64
import gzip
import io
import json
import shutil
import tarfile
import tempfile
import zlib
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from pathlib import Path
from typing import IO, Any

import sqlalchemy as sa

from app import logs
from app.cli_errors import MarqueeError
from app.ingest.store_copy import check_store_file, open_store_files, restore_store
from app.provenance.database import (
    get_revision,
    insert_ignore,
    list_revisions,
    read_revision,
    upgrade,
)
from app.provenance.tables import metadata

_CHUNK_ROWS = 20_000
#: Format of an archive. Those of format 1 have no end.
_FORMAT = 2
_OLD_FORMAT = 1
_HEADER = "backup.json"
_END = "end.json"
_STORE = "store"
#: `reccom` last: the records that an interrupted restore has written can be traced.
_TABLES = ("tracking", "build", "configuration", "catalogue", "audit", "reccom")
_READ_BYTES = 1 << 20
#: Errors that a damaged archive raises in its members, its tar format and its compression.
_DAMAGE = (
    tarfile.TarError, zlib.error, EOFError, OSError,
    ValueError, TypeError, KeyError, AttributeError,
)  # fmt: skip

#: Called with the first and the second part of a member's name and its content; returns how many
#: rows or files it is.
_HandleMember = Callable[[str, str, IO[bytes]], int]

_log = logs.get(__name__)


class BackupError(MarqueeError):
    """An archive that cannot be restored."""


def write_backup(engine: sa.Engine, store: Path, out: IO[bytes]) -> dict[str, int]:
    """Write an archive; return the number of rows of each table and of files of the store."""
    counts = dict.fromkeys((*_TABLES, _STORE), 0)
    with tarfile.open(fileobj=out, mode="w|gz") as archive:
        # One transaction: a consistent snapshot of all tables.
        isolation = "SERIALIZABLE" if engine.dialect.name == "sqlite" else "REPEATABLE READ"
        with engine.connect().execution_options(isolation_level=isolation) as connection:
            if engine.dialect.name == "sqlite":
                connection.exec_driver_sql("BEGIN")  # which sqlite3 omits before a SELECT
            _add_json(archive, _HEADER, {"format": _FORMAT, "revision": read_revision(connection)})
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
        _add_json(archive, _END, {"counts": counts})
    return counts


def restore_backup(engine: sa.Engine, store: Path, source: IO[bytes]) -> dict[str, int]:
    """Restore an archive's rows, and its store unless the store has events already.

    Rows whose key exists are left as they are, so an interrupted restore may be repeated. The
    archive is checked as a whole before anything is written. One that comes through a pipe is first
    copied to a file without a name in the directory of the store.

    Returns:
        The number of rows of each table and of files of the store that were restored.

    Raises:
        BackupError: the archive is incomplete, not a backup, or of a later version, or the tables
            are older than it.
        IngestError: another process writes the store, or it cannot be written.
        OSError: there is no space for the copy.
    """
    with ExitStack() as stack:
        if not source.seekable():
            source = stack.enter_context(_copy_to_file(source, store))
        start = source.tell()
        revision = _read_archive(source, _count_member)
        source.seek(start)
        if engine.dialect.name == "sqlite":
            upgrade(engine)
        _check_tables(engine, revision)
        return _restore_members(engine, store, source)


def _copy_to_file(source: IO[bytes], directory: Path) -> IO[bytes]:
    directory.mkdir(parents=True, exist_ok=True)
    file = tempfile.TemporaryFile(dir=directory)  # noqa: SIM115 - the caller closes it
    shutil.copyfileobj(source, file, _READ_BYTES)
    file.seek(0)
    return file


def _restore_members(engine: sa.Engine, store: Path, source: IO[bytes]) -> dict[str, int]:
    counts = dict.fromkeys((*_TABLES, _STORE), 0)
    with restore_store(store) as files:
        if files is None:
            _log.warning("the store has events already and is not restored", store=str(store))

        def restore_member(folder: str, name: str, content: IO[bytes]) -> int:
            if folder == _STORE:
                if files:
                    files.write_file(name, content)
                    counts[_STORE] += 1
                return 1
            rows = _restore_rows(engine, metadata.tables[folder], content)
            counts[folder] += rows
            return rows

        _read_archive(source, restore_member)
    return counts


def _count_member(folder: str, name: str, content: IO[bytes]) -> int:
    if folder == _STORE:
        check_store_file(name, content)
        return 1
    return len(_parse_rows(metadata.tables[folder], content))


def _read_archive(source: IO[bytes], handle: _HandleMember) -> str:
    """Pass each member of an archive to `handle`, and compare their numbers with its end.

    Returns:
        The schema revision of the archive.

    Raises:
        BackupError: the archive is incomplete, not a backup, or of a later version.
    """
    found = dict.fromkeys((*_TABLES, _STORE), 0)
    try:
        # Not tarfile's own gzip: it would not check the length and the checksum at the end.
        with (
            gzip.GzipFile(fileobj=source) as unpacked,
            tarfile.open(fileobj=unpacked, mode="r|") as archive,
        ):
            archive_format, revision = _read_header(archive)
            counts = None
            for member in archive:
                file = archive.extractfile(member)
                folder, _, name = member.name.partition("/")
                if member.name == _END and file is not None:
                    counts = json.load(file)["counts"]
                elif file is not None and name and folder in found:
                    found[folder] += handle(folder, name, file)
            while unpacked.read(_READ_BYTES):
                pass
    except _DAMAGE as error:
        raise BackupError(f"cannot restore the backup: {error}") from error
    if archive_format == _OLD_FORMAT:
        _log.warning("a backup of version 0.2.0: whether it is complete cannot be checked")
    elif counts is None:
        raise BackupError("cannot restore the backup: it was cut, and lacks its end")
    elif {**dict.fromkeys(found, 0), **counts} != found:  # it may be older than a table
        raise BackupError(f"cannot restore the backup: it has {found}; when it was made, {counts}")
    return revision


def _read_header(archive: tarfile.TarFile) -> tuple[int, str]:
    """Read the first member.

    Returns:
        The format of the archive and its schema revision.

    Raises:
        BackupError: the header is missing, or of a later version.
    """
    member = archive.next()
    content = archive.extractfile(member) if member and member.name == _HEADER else None
    header = {} if content is None else json.load(content)
    number, revision = header.get("format"), header.get("revision")
    if number not in (_FORMAT, _OLD_FORMAT):
        found = "no backup" if number is None else f"a backup of format {number!r}"
        raise BackupError(f"{found}; this version reads formats {_OLD_FORMAT} and {_FORMAT}")
    if revision not in list_revisions():
        raise BackupError(
            f"the backup has tables of revision {revision}, which this version does not know: "
            "restore it with the version that made it"
        )
    return number, revision


def _check_tables(engine: sa.Engine, revision: str) -> None:
    """Compare the schema revision of the tables with that of an archive.

    Raises:
        BackupError: the tables are older, or there are none.
    """
    known, present = list_revisions(), get_revision(engine)
    if present is None or (present in known and known.index(present) < known.index(revision)):
        raise BackupError(
            f"the tables of the database have revision {present}, older than the backup's "
            f"{revision}: run `marquee migrate` first"
        )


def _add_json(archive: tarfile.TarFile, name: str, value: object) -> None:
    content = json.dumps(value).encode()
    _add_member(archive, name, io.BytesIO(content), len(content))


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


def _parse_rows(table: sa.Table, lines: IO[bytes]) -> list[dict[str, Any]]:
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
    return rows


def _restore_rows(engine: sa.Engine, table: sa.Table, lines: IO[bytes]) -> int:
    rows = _parse_rows(table, lines)
    if rows:
        with engine.begin() as connection:
            insert_ignore(connection, table, rows)
    return len(rows)
