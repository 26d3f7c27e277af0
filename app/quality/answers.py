"""Read recorded answers from the database, with movies numbered alike for all versions."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Any

import numpy as np
import polars as pl
import sqlalchemy as sa

from app.ingest.schemas import TIMESTAMP, Schema
from app.model.recommendation_lists import movie_number_dtype
from app.provenance.catalogues import Catalogues
from app.provenance.tables import US_PER_DAY, reccom
from app.quality.errors import QualityError

#: Rows that are read from the database at a time.
_CHUNK_ROWS = 20_000
#: Days around a time whose partitions are searched: a record may have its id a little earlier.
_DAY_MARGIN = 1

#: One row per answer as it was recorded; `listed` has movie numbers of `MovieNumbers`.
RECORDED: Schema = {
    "answer": pl.Int64(),
    "user_id": pl.Int64(),
    "time": TIMESTAMP,
    "version": pl.Int64(),
    "source": pl.String(),
    "configuration_id": pl.Int64(),
    "recent_events": pl.Binary(),
    "listed": pl.List(pl.Int32()),
}


@dataclass
class MovieNumbers:
    """Numbers movie ids across versions, each of which has numbers of its own.

    Attributes:
        ids: movie id -> number.
    """

    ids: dict[str, int] = field(default_factory=dict)

    def add(self, movie_ids: Sequence[str]) -> np.ndarray[Any, np.dtype[np.int32]]:
        """The numbers of movie ids, in their order; new ones get the next numbers."""
        numbers = [self.ids.setdefault(movie_id, len(self.ids)) for movie_id in movie_ids]
        return np.array(numbers, np.int32)


class AnswerReader:
    """Reads the answers of a time.

    Args:
        engine: of the database of provenance.
        numbers: where movies get their numbers.
    """

    def __init__(self, engine: sa.Engine, numbers: MovieNumbers) -> None:
        self._engine = engine
        self._numbers = numbers
        self._catalogues = Catalogues(engine)
        self._by_model: dict[tuple[str, int], np.ndarray[Any, np.dtype[np.int32]]] = {}

    def read(self, start: datetime, end: datetime) -> pl.DataFrame:
        """Read the answers from `start` to before `end`, both in UTC without a zone.

        Of a request that was sent to two slots, the answer that was delivered counts: the one whose
        connection NGINX had not closed; the first of several.

        Returns:
            `RECORDED`, sorted by time.

        Raises:
            QualityError: the movies of a model are not known.
        """
        frames = [self._convert(rows) for rows in self._read_rows(start, end)]
        if not frames:
            return pl.DataFrame(schema=RECORDED)
        rows = pl.concat(frames).sort("time", "request_id")
        first = rows.unique("request_id", keep="first", maintain_order=True)
        return first.with_row_index("answer").select(
            pl.col(name).cast(kind) for name, kind in RECORDED.items()
        )

    def _read_rows(self, start: datetime, end: datetime) -> Iterator[list[Any]]:
        start_us, end_us = (round(t.replace(tzinfo=UTC).timestamp() * 1e6) for t in (start, end))
        query = (
            sa.select(
                reccom.c.request_id,
                reccom.c.user_id,
                reccom.c.answered_at_us,
                reccom.c.version_number,
                reccom.c.source,
                reccom.c.configuration_id,
                reccom.c.recent_events,
                reccom.c.movie_numbers,
                reccom.c.build_id,
            )
            .where(reccom.c.day >= start_us // US_PER_DAY - _DAY_MARGIN)
            .where(reccom.c.day <= end_us // US_PER_DAY + _DAY_MARGIN)
            .where(reccom.c.answered_at_us >= start_us, reccom.c.answered_at_us < end_us)
            .where(sa.not_(reccom.c.client_gone))
        )
        with self._engine.connect().execution_options(yield_per=_CHUNK_ROWS) as connection:
            for rows in connection.execute(query).partitions():
                yield list(rows)

    def _convert(self, rows: list[Any]) -> pl.DataFrame:
        columns = list(zip(*rows, strict=True))
        schema = {name: kind for name, kind in RECORDED.items() if name not in ("answer", "listed")}
        frame = pl.DataFrame(
            {
                "user_id": columns[1],
                "time": columns[2],
                "version": columns[3],
                "source": columns[4],
                "configuration_id": columns[5],
                "recent_events": columns[6],
            },
            schema={**schema, "time": pl.Int64()},
        )
        return frame.with_columns(
            pl.col("time").cast(TIMESTAMP),
            request_id=pl.Series(columns[0], dtype=pl.String),
            listed=self._number_movies(columns[7], columns[8], columns[3]),
        )

    def _number_movies(
        self, packed: Sequence[bytes], builds: Sequence[str], versions: Sequence[int]
    ) -> pl.Series:
        """Convert packed movie numbers of each answer's model."""
        lists: list[list[int]] = []
        for movie_numbers, build_id, version in zip(packed, builds, versions, strict=True):
            numbers = self._numbers_of(build_id, version)
            dtype = movie_number_dtype(len(numbers))
            lists.append(numbers[np.frombuffer(movie_numbers, dtype)].tolist())
        return pl.Series(lists, dtype=pl.List(pl.Int32))

    def _numbers_of(self, build_id: str, version: int) -> np.ndarray[Any, np.dtype[np.int32]]:
        found = self._by_model.get((build_id, version))
        if found is None:
            ids = self._catalogues.get_movie_ids(build_id, version)
            if ids is None:
                raise QualityError(f"the movies of the build {build_id} are not in the database")
            found = self._by_model[build_id, version] = self._numbers.add(ids)
        return found
