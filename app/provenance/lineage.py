"""Trace a recommendation back to the model, data, code and container that made it."""

import json
from collections.abc import Iterator
from datetime import UTC, datetime
from typing import Any

import numpy as np
import sqlalchemy as sa

from app.model.recommendation_lists import movie_number_dtype
from app.provenance.instance_info import decompress_movie_ids
from app.provenance.record_format import Number, Record, SegmentHeader, field_types
from app.provenance.tables import (
    build,
    catalogue,
    partition_day,
    reccom,
    request_time_us,
    tracking,
)

_UNKNOWN = "unknown"
_JSON_COLUMNS = ("ranking_metrics", "libraries", "parameters")
_FIELD_TYPES = field_types(SegmentHeader) | field_types(Record)
_LABEL_WIDTH = 26
#: Catalogues that are kept unpacked. One of 100,000 movies takes about 10 MB.
_MAX_CATALOGUES = 4


class Lineage:
    """Reads the database; caches the catalogues that it has unpacked last. For several threads."""

    def __init__(self, engine: sa.Engine) -> None:
        self._engine = engine
        self._movie_ids: dict[str, list[str]] = {}

    def find_request(self, request_id: str) -> list[dict[str, Any]]:
        """The records of a request: several where NGINX tried more than one slot."""
        query = sa.select(reccom).where(reccom.c.request_id == request_id)
        if request_time_us(request_id) is not None:
            query = query.where(reccom.c.day == partition_day(request_id, 0))
        return self._trace(query.order_by(reccom.c.answered_at_us))

    def find_user(self, user_id: int, limit: int) -> list[dict[str, Any]]:
        """A user's last records, newest first."""
        query = sa.select(reccom).where(reccom.c.user_id == user_id)
        return self._trace(query.order_by(reccom.c.answered_at_us.desc()).limit(limit))

    def find_version(self, number: int) -> dict[str, Any] | None:
        """The row of `tracking` of a version, with its builds; None for an unknown version."""
        with self._engine.connect() as connection:
            version = _read_version(connection, number)
            query = sa.select(build).where(build.c.version_number == number)
            builds = [dict(row) for row in connection.execute(query).mappings()]
            records = sa.select(reccom.c.day).where(reccom.c.version_number == number).limit(1)
            has_records = connection.execute(records).first() is not None
        if version is None and not builds:
            return None
        return {
            **(version or {"version_number": number}),
            "builds": [{**one, "restore_command": restore_command(one, version)} for one in builds],
            "has_records": has_records,
        }

    def _trace(self, query: sa.Select[Any]) -> list[dict[str, Any]]:
        with self._engine.connect() as connection:
            rows = [dict(row) for row in connection.execute(query).mappings()]
            return [self._describe(connection, row) for row in rows]

    def _describe(self, connection: sa.Connection, row: dict[str, Any]) -> dict[str, Any]:
        query = sa.select(build).where(build.c.build_id == row["build_id"])
        found = connection.execute(query).mappings().first()
        built = dict(found) if found else None
        version = _read_version(connection, row["version_number"])
        model_hash = (built or version or {}).get("model_hash")
        movie_ids = self._read_movie_ids(connection, model_hash, row.pop("movie_numbers"))
        return {
            **_describe_fields(row),
            "movie_ids": movie_ids,
            "build": built,
            "version": version,
            "restore_command": restore_command(built, version),
        }

    def _read_movie_ids(
        self, connection: sa.Connection, model_hash: str | None, movie_numbers: bytes
    ) -> list[str] | None:
        """The ids of packed movie numbers; None without the model's catalogue."""
        if model_hash is None:
            return None
        ids = self._movie_ids.get(model_hash)
        if ids is None:
            query = sa.select(catalogue.c.movie_ids).where(catalogue.c.model_hash == model_hash)
            packed = connection.scalar(query)
            if packed is None:
                return None
            ids = decompress_movie_ids(packed)
            # Replaced, not changed: other threads may be reading it.
            kept = list(self._movie_ids.items())[-(_MAX_CATALOGUES - 1) :]
            self._movie_ids = {**dict(kept), model_hash: ids}
        numbers = np.frombuffer(movie_numbers, movie_number_dtype(len(ids)))
        return [ids[number] for number in numbers.tolist()]


def restore_command(built: dict[str, Any] | None, version: dict[str, Any] | None) -> str | None:
    """Return the command that restores code, data and model in a clone; None without a version.

    A build without a commit has the data and model of its version, whose tag names them. The
    commit that trained a version does not: it still has the data and model of the version before.
    """
    found = {**(version or {}), **(built or {})}
    if "version_number" not in found:
        return None
    commit = found.get("git_commit", _UNKNOWN)
    revision = f"version-{found['version_number']}" if commit == _UNKNOWN else commit
    return f"git checkout {revision} && dvc pull"


def format_lines(record: dict[str, Any], indent: str = "") -> Iterator[str]:
    """A record as a table: one field per line, nested ones indented, lists of movies numbered."""
    for name, value in record.items():
        label = f"{indent}{name:<{_LABEL_WIDTH - len(indent)}}"
        if isinstance(value, dict):
            yield f"{indent}{name}"
            yield from format_lines(value, indent + "  ")
        elif isinstance(value, list) and value and isinstance(value[0], dict):
            for item in value:
                yield f"{indent}{name}"
                yield from format_lines(item, indent + "  ")
        elif isinstance(value, list):
            yield f"{indent}{name}"
            yield from (f"{indent}  {rank:>2}  {item}" for rank, item in enumerate(value, 1))
        else:
            yield f"{label}{'unknown' if value is None else value}"


def _describe_fields(row: dict[str, Any]) -> dict[str, Any]:
    """The declared fields in a row of `reccom`; timestamps as text instead of microseconds."""
    fields = {}
    for name, type_ in _FIELD_TYPES.items():
        if name not in row:
            continue
        if isinstance(type_, Number) and type_.is_timestamp:
            moment = datetime.fromtimestamp(row[name] / 1e6, UTC)
            fields[name.removesuffix("_us")] = moment.isoformat()
        else:
            fields[name] = row[name]
    return fields


def _read_version(connection: sa.Connection, number: int) -> dict[str, Any] | None:
    query = sa.select(tracking).where(tracking.c.version_number == number)
    row = connection.execute(query).mappings().first()
    if row is None:
        return None
    return {
        name: json.loads(value) if name in _JSON_COLUMNS and value else value
        for name, value in row.items()
    }
