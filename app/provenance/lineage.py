"""Trace a recommendation back to the model, data, code and container that made it."""

import json
from collections.abc import Iterator
from datetime import UTC, datetime
from typing import Any

import numpy as np
import sqlalchemy as sa

from app.model.packed_events import EventPacker
from app.model.recommendation_lists import movie_number_dtype
from app.provenance.instance_info import decompress_movie_ids
from app.provenance.list_remaker import ListRemaker, RecordedList
from app.provenance.record_format import Number, Record, SegmentHeader, field_types
from app.provenance.tables import (
    build,
    catalogue,
    configuration,
    partition_day,
    reccom,
    request_time_us,
    tracking,
)
from app.recent_events import UNKNOWN_MOVIE

_UNKNOWN = "unknown"
_JSON_COLUMNS = ("ranking_metrics", "libraries", "parameters")
_FIELD_TYPES = field_types(SegmentHeader) | field_types(Record)
_LABEL_WIDTH = 26
#: Catalogues that are kept unpacked. One of 100,000 movies takes about 10 MB.
_MAX_CATALOGUES = 4


class Lineage:
    """Reads the database; caches the catalogues that it has unpacked last. For several threads.

    Args:
        engine: of the database.
        remaker: makes each list again with its model, and compares it.
    """

    def __init__(self, engine: sa.Engine, remaker: ListRemaker | None = None) -> None:
        self._engine = engine
        self._remaker = remaker
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
        catalogue_ids = self._read_catalogue(connection, model_hash)
        configured = _read_configuration(connection, row.pop("configuration_id"))
        movie_numbers, recent_events = row.pop("movie_numbers"), row.pop("recent_events")
        described = {
            **_describe_fields(row),
            "movie_ids": _to_movie_ids(movie_numbers, catalogue_ids),
            "recent_events": _describe_events(recent_events, catalogue_ids, version),
            "configuration": configured,
            "build": built,
            "version": version,
            "restore_command": restore_command(built, version),
        }
        if self._remaker:
            recorded = RecordedList(
                row["user_id"], row["source"], movie_numbers, recent_events or b"", model_hash
            )
            described["remade"] = self._remaker.compare(recorded, configured)
        return described

    def _read_catalogue(
        self, connection: sa.Connection, model_hash: str | None
    ) -> list[str] | None:
        """The movie ids of a model by movie number; None where they are not known."""
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
        return ids


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


def explain_events(record: dict[str, Any]) -> dict[str, Any]:
    """A traced record with its recent events as sentences."""
    if not record.get("recent_events"):
        return record
    return {**record, "recent_events": [_explain(event) for event in record["recent_events"]]}


def _explain(event: dict[str, Any]) -> str:
    details = [f"{event['minutes']} minutes"] if event["minutes"] else []
    details += [] if event["rating"] is None else [f"rated {event['rating']:g}"]
    reason = "because of" if event["had_effect"] else "left out, without effect:"
    movie = event["movie_id"] or "a movie that the model does not have"
    return f"{reason} {movie}, watched at {event['watched_at']} ({', '.join(details)})"


def _to_movie_ids(movie_numbers: bytes, catalogue_ids: list[str] | None) -> list[str] | None:
    if catalogue_ids is None:
        return None
    numbers = np.frombuffer(movie_numbers, movie_number_dtype(len(catalogue_ids)))
    return [catalogue_ids[number] for number in numbers.tolist()]


def _describe_events(
    packed: bytes | None, catalogue_ids: list[str] | None, version: dict[str, Any] | None
) -> list[dict[str, Any]] | None:
    """The recent events of a list, newest first; None where what is needed is not known.

    Times are those of the log, without a zone. A movie that the model does not have has no id.
    """
    if not packed:
        return []
    scale = ((version or {}).get("parameters") or {}).get("rating_scale")
    if catalogue_ids is None or scale is None:
        return None
    movies = len(catalogue_ids)
    packer = EventPacker(movies, movie_number_dtype(movies), (scale[0], scale[1]))
    try:
        events, _, used, _, _ = packer.unpack(packed)
    except ValueError:
        return None
    return [
        {
            "movie_id": None if movie == UNKNOWN_MOVIE else catalogue_ids[movie],
            "minutes": minutes,
            "rating": rating,
            "watched_at": datetime.fromtimestamp(time, UTC).replace(tzinfo=None).isoformat(),
            "had_effect": movie in used,
        }
        for movie, minutes, rating, time in events
    ]


def _read_configuration(
    connection: sa.Connection, configuration_id: int | None
) -> dict[str, Any] | None:
    if configuration_id is None:
        return None
    query = sa.select(configuration).where(configuration.c.configuration_id == configuration_id)
    row = connection.execute(query).mappings().first()
    if row is None:
        return None
    return {**row, "hidden_movies": json.loads(row["hidden_movies"])}


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
