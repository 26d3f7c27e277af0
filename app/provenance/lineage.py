"""From an answer back to what made it."""

import json
import zlib
from datetime import UTC, datetime
from typing import Any

import numpy as np
import sqlalchemy as sa

from app.model.recommendation_lists import movie_number_dtype
from app.provenance.database import day_of, time_of_id
from app.provenance.tables import build, catalogue, reccom, tracking

_UNKNOWN = "unknown"
_JSON = ("ranking_metrics", "libraries", "parameters")


class Tracer:
    """Reads the database; keeps the catalogues it has unpacked."""

    def __init__(self, engine: sa.Engine) -> None:
        self._engine = engine
        self._names: dict[str, list[str]] = {}

    def request(self, request_id: str) -> list[dict[str, Any]]:
        """Every record of a request: more than one where the edge asked a second slot."""
        query = sa.select(reccom).where(reccom.c.request_id == request_id)
        if time_of_id(request_id) is not None:
            query = query.where(reccom.c.day == day_of(request_id, 0))
        return self._trace(query.order_by(reccom.c.time))

    def user(self, user_id: int, last: int) -> list[dict[str, Any]]:
        """A user's last answers, newest first."""
        query = sa.select(reccom).where(reccom.c.user_id == user_id)
        return self._trace(query.order_by(reccom.c.time.desc()).limit(last))

    def version(self, number: int) -> dict[str, Any] | None:
        """What a version was made from, and its builds; None: nobody ever served it."""
        with self._engine.connect() as connection:
            made_from = _tracked(connection, number)
            query = sa.select(build).where(build.c.version_number == number)
            builds = [dict(row) for row in connection.execute(query).mappings()]
            answers = sa.select(reccom.c.time).where(reccom.c.version_number == number)
            answered = connection.execute(answers.limit(1)).first() is not None
        if made_from is None and not builds:
            return None
        restore = [restore_command(one, made_from) for one in builds]
        return {
            **(made_from or {"version_number": number}),
            "builds": [{**one, "restore": how} for one, how in zip(builds, restore, strict=True)],
            "answered": answered,
        }

    def _trace(self, query: sa.Select[Any]) -> list[dict[str, Any]]:
        with self._engine.connect() as connection:
            rows = [dict(row) for row in connection.execute(query).mappings()]
            return [self._explain(connection, row) for row in rows]

    def _explain(self, connection: sa.Connection, row: dict[str, Any]) -> dict[str, Any]:
        of_build = sa.select(build).where(build.c.build_id == row["build_id"])
        built = connection.execute(of_build).mappings().first()
        made_from = _tracked(connection, row["version_number"])
        model_hash = (built or made_from or {}).get("model_hash")
        return {
            "request_id": row["request_id"],
            "slot": row["slot"],
            "time": datetime.fromtimestamp(row["time"] / 1e6, UTC).isoformat(),
            "user_id": row["user_id"],
            "source": row["source"],
            "version_number": row["version_number"],
            "took_ms": row["took"] / 1000,
            "given_up": bool(row["given_up"]),
            "asked_again": bool(row["asked_again"]),
            "movie_ids": self._movies(connection, model_hash, row["movies"]),
            "build": {"build_id": row["build_id"], **(dict(built) if built else {})},
            "made_from": made_from,
            "restore": restore_command(dict(built) if built else None, made_from),
        }

    def _movies(
        self, connection: sa.Connection, model_hash: str | None, movies: bytes
    ) -> list[str] | None:
        """The ids of packed movie numbers; None where the catalogue is not known."""
        if model_hash is None:
            return None
        if model_hash not in self._names:
            query = sa.select(catalogue.c.names).where(catalogue.c.model_hash == model_hash)
            packed = connection.scalar(query)
            if packed is None:
                return None
            self._names[model_hash] = zlib.decompress(packed).decode().split("\n")
        names = self._names[model_hash]
        return [
            names[number]
            for number in np.frombuffer(movies, movie_number_dtype(len(names))).tolist()
        ]


def restore_command(built: dict[str, Any] | None, made_from: dict[str, Any] | None) -> str | None:
    """What brings that code, data and model back into a clone; None where no commit is known."""
    commit = (built or {}).get("git_commit", _UNKNOWN)
    if commit == _UNKNOWN:
        commit = (made_from or {}).get("trained_by_commit")
    return f"git checkout {commit} && dvc pull" if commit else None


def _tracked(connection: sa.Connection, number: int) -> dict[str, Any] | None:
    query = sa.select(tracking).where(tracking.c.version_number == number)
    row = connection.execute(query).mappings().first()
    if row is None:
        return None
    return {
        name: json.loads(value) if name in _JSON and value else value for name, value in row.items()
    }
