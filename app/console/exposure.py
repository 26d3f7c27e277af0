"""How often each movie was recommended in the last month, by version, kept ready.

The records of a day are counted once, in the order of their key, some thousand at a time; a file
for each day holds the counts and the key reached. Records that arrive late, such as after an outage
of the database, are missing until an hour after the end of their day: then a day whose number of
records differs is counted again.
"""

import io
import json
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any
from zipfile import BadZipFile

import numpy as np
import sqlalchemy as sa
from numpy.typing import NDArray
from sqlalchemy.exc import SQLAlchemyError

from app.atomic_files import write_file
from app.console.sources import SourceError
from app.model.recommendation_lists import movie_number_dtype
from app.provenance.database import describe_error
from app.provenance.instance_info import decompress_movie_ids
from app.provenance.tables import US_PER_DAY, build, catalogue, reccom

DAYS = 31
_BATCH_ROWS = 2000
_BATCHES_PER_REFRESH = 4
#: Records younger than this may still arrive out of order.
_SETTLED_US = 120_000_000
#: After the end of a day, until its records are complete.
_LATE_US = 3_600_000_000
#: Part of the key of counts: version, model.
_Key = tuple[int, str]


@dataclass
class _Day:
    """What was counted of a day.

    Attributes:
        after: request id and slot of the last counted record.
        rows: counted records.
        is_complete: whether nothing is counted any more.
        responses: (version, model hash) -> number of records.
        movies: (version, model hash) -> [movies] how often each movie number was recommended.
    """

    after: tuple[str, str] = ("", "")
    rows: int = 0
    is_complete: bool = False
    responses: dict[_Key, int] = field(default_factory=dict)
    movies: dict[_Key, NDArray[np.int64]] = field(default_factory=dict)


@dataclass(frozen=True)
class ExposureSpan:
    """What the counts contain: days since 1970, and the number of responses."""

    first_day: int | None
    last_day: int | None
    responses: int


@dataclass(frozen=True)
class MovieExposure:
    """Exposure of a movie by a version: in how many of the version's responses it was listed."""

    version: int
    responses: int
    listed: int

    @property
    def share(self) -> float:
        """Share of the responses."""
        return self.listed / self.responses if self.responses else 0.0


class Exposure:
    """Counts, and keeps the counts in a directory.

    Args:
        engine: of the database; may be one that only reads.
        directory: of the files; created when there is something to keep.
        clock: returns the time in nanoseconds since 1970.
    """

    def __init__(
        self, engine: sa.Engine, directory: Path, clock: Callable[[], int] = time.time_ns
    ) -> None:
        self._engine, self._directory, self._clock = engine, directory, clock
        self._days: dict[int, _Day] = {}
        self._is_loaded = False
        self._models: dict[str, int] = {}
        self._builds: dict[str, str] = {}

    def refresh(self) -> ExposureSpan:
        """Count some thousand more records of the last month, newest day first.

        Raises:
            SourceError: the database cannot be read, or the directory cannot be written.
        """
        now_us = self._clock() // 1000
        today = now_us // US_PER_DAY
        try:
            if not self._is_loaded:
                self._days, self._is_loaded = self._load(today), True
            self._forget_old_days(today)
            self._count(now_us, today)
        except SQLAlchemyError as error:
            raise SourceError(f"the database does not respond: {describe_error(error)}") from error
        except OSError as error:
            raise SourceError(f"the counts cannot be stored: {error.strerror or error}") from error
        counted = {day: counts for day, counts in self._days.items() if counts.rows}
        return ExposureSpan(
            min(counted, default=None),
            max(counted, default=None),
            sum(counts.rows for counts in counted.values()),
        )

    def find_movie(self, movie_id: str) -> list[MovieExposure]:
        """Return the exposure of a movie by version, newest version first.

        Versions whose model does not have the movie are left out.

        Raises:
            SourceError: the database cannot be read.
        """
        responses: dict[int, int] = {}
        listed: dict[int, int] = {}
        numbers: dict[str, int | None] = {}
        for counts in list(self._days.values()):
            for (version, model_hash), movies in list(counts.movies.items()):
                if model_hash not in numbers:
                    numbers[model_hash] = self._find_number(model_hash, movie_id)
                number = numbers[model_hash]
                if number is not None:
                    key = (version, model_hash)
                    responses[version] = responses.get(version, 0) + counts.responses.get(key, 0)
                    listed[version] = listed.get(version, 0) + int(movies[number])
        return [
            MovieExposure(version, responses[version], listed[version])
            for version in sorted(responses, reverse=True)
        ]

    def _find_number(self, model_hash: str, movie_id: str) -> int | None:
        query = sa.select(catalogue.c.movie_ids).where(catalogue.c.model_hash == model_hash)
        try:
            with self._engine.connect() as connection:
                packed = connection.scalar(query)
        except SQLAlchemyError as error:
            raise SourceError(f"the database does not respond: {describe_error(error)}") from error
        ids = decompress_movie_ids(packed) if packed else []
        return ids.index(movie_id) if movie_id in ids else None

    def _count(self, now_us: int, today: int) -> None:
        budget = _BATCHES_PER_REFRESH
        with self._engine.connect() as connection:
            for day in range(today, today - DAYS, -1):
                counts = self._days.setdefault(day, _Day())
                changed = False
                while budget and not counts.is_complete:
                    rows = _read_rows(connection, day, counts.after, now_us - _SETTLED_US)
                    if not rows:
                        is_over = (day + 1) * US_PER_DAY + _LATE_US < now_us
                        changed |= is_over and self._complete(connection, day, counts)
                        break
                    budget -= 1
                    changed = True
                    self._add(connection, counts, rows)
                if changed and counts.rows:
                    self._save(day)

    def _complete(self, connection: sa.Connection, day: int, counts: _Day) -> bool:
        """Mark a day that is over as complete; start it again if records came late."""
        query = sa.select(sa.func.count()).select_from(reccom).where(reccom.c.day == day)
        if connection.scalar(query) == counts.rows:
            counts.is_complete = True
        else:
            self._days[day] = _Day()
        return True

    def _add(self, connection: sa.Connection, counts: _Day, rows: list[Any]) -> None:
        """Add records by version and model; those of an unknown model only count as rows."""
        lists: dict[_Key, list[bytes]] = {}
        for row in rows:
            model_hash = self._get_model(connection, row.build_id)
            if model_hash and self._get_movie_count(connection, model_hash):
                lists.setdefault((row.version_number, model_hash), []).append(row.movie_numbers)
        for key, packed in lists.items():
            size = self._models[key[1]]
            numbers = np.frombuffer(b"".join(packed), movie_number_dtype(size))
            added = np.bincount(numbers[numbers < size], minlength=size)
            before = counts.movies.get(key)
            counts.movies[key] = added if before is None else before + added
            counts.responses[key] = counts.responses.get(key, 0) + len(packed)
        counts.rows += len(rows)
        counts.after = (rows[-1].request_id, rows[-1].slot)

    def _get_model(self, connection: sa.Connection, build_id: str) -> str | None:
        if build_id not in self._builds:
            query = sa.select(build.c.model_hash).where(build.c.build_id == build_id)
            found = connection.scalar(query)
            if found is None:
                return None
            self._builds[build_id] = found
        return self._builds[build_id]

    def _get_movie_count(self, connection: sa.Connection, model_hash: str) -> int | None:
        if model_hash not in self._models:
            query = sa.select(catalogue.c.movie_count).where(catalogue.c.model_hash == model_hash)
            found = connection.scalar(query)
            if found is None:
                return None
            self._models[model_hash] = found
        return self._models[model_hash]

    # -- the days, in memory and in files

    def _forget_old_days(self, today: int) -> None:
        for day in [day for day in self._days if day <= today - DAYS]:
            self._days.pop(day)
            self._path(day).unlink(missing_ok=True)

    def _path(self, day: int) -> Path:
        return self._directory / f"exposure-{day}.npz"

    def _save(self, day: int) -> None:
        counts = self._days[day]
        meta = {
            "after": counts.after,
            "rows": counts.rows,
            "is_complete": counts.is_complete,
            "responses": [[*key, number] for key, number in counts.responses.items()],
        }
        arrays: dict[str, Any] = {
            f"{version}-{model}": array for (version, model), array in counts.movies.items()
        }
        buffer = io.BytesIO()
        encoded = np.frombuffer(json.dumps(meta).encode(), np.uint8)
        np.savez_compressed(buffer, meta=encoded, **arrays)
        self._directory.mkdir(parents=True, exist_ok=True)
        write_file(self._path(day), buffer.getvalue())

    def _load(self, today: int) -> dict[int, _Day]:
        """Read the files; a day whose file is damaged is counted again."""
        days = {}
        for path in self._directory.glob("exposure-*.npz"):
            name = path.stem.removeprefix("exposure-")
            if name.isdigit() and today - DAYS < int(name) <= today:
                days.update({int(name): counts for counts in _read_day(path)})
        return days


def _read_rows(
    connection: sa.Connection, day: int, after: tuple[str, str], before_us: int
) -> list[Any]:
    columns = reccom.c
    query = (
        sa.select(
            columns.request_id,
            columns.slot,
            columns.build_id,
            columns.version_number,
            columns.movie_numbers,
        )
        .where(
            columns.day == day,
            columns.request_id >= after[0],
            sa.or_(columns.request_id > after[0], columns.slot > after[1]),
            columns.answered_at_us < before_us,
        )
        .order_by(columns.request_id, columns.slot)
        .limit(_BATCH_ROWS)
    )
    return list(connection.execute(query).all())


def _read_day(path: Path) -> Iterator[_Day]:
    try:
        with path.open("rb") as file, np.load(file, allow_pickle=False) as content:
            meta = json.loads(content["meta"].tobytes())
            responses = {
                (int(version), str(model)): int(number)
                for version, model, number in meta["responses"]
            }
            movies = {key: content[f"{key[0]}-{key[1]}"].astype(np.int64) for key in responses}
        after = (str(meta["after"][0]), str(meta["after"][1]))
        yield _Day(after, int(meta["rows"]), bool(meta["is_complete"]), responses, movies)
    except (OSError, ValueError, KeyError, TypeError, IndexError, EOFError, BadZipFile):
        return
