"""Export the answers of whole days from the database to Parquet, from a position on."""

import time
from collections.abc import Iterator, Sequence
from datetime import UTC, date, datetime, timedelta
from typing import Any

import numpy as np
import pyarrow as pa
import sqlalchemy as sa

from app.model.recommendation_lists import movie_number_dtype
from app.provenance.catalogues import Catalogues
from app.provenance.tables import build, quality, reccom, tracking
from app.telemetry.exports import ANSWERS, EPOCH, ROW_GROUP_ROWS, ExportDirectory, to_day, to_number

#: A day is exported this long after its end: until then its last records may be in the spool.
DELAY = timedelta(hours=1)
#: Tables that are exported as a whole: file -> table.
_SMALL_TABLES = {"versions": tracking, "builds": build, "quality": quality}


class AnswerExporter:
    """Exports days.

    Args:
        engine: of the database of provenance.
        directory: of the exports.
    """

    def __init__(self, engine: sa.Engine, directory: ExportDirectory) -> None:
        self._engine = engine
        self._directory = directory
        self._catalogues = Catalogues(engine)

    def run(self, now: datetime, retention_days: int) -> dict[str, Any]:
        """Export all days that are over, and remove those older than the retention.

        Interrupted, it continues at the first day that was not complete. Records that reach the
        database after the export of their day are not in it.

        Returns:
            Number of `days`, `rows`, `removed` days, and `seconds`; `next_day`.

        Raises:
            SQLAlchemyError: the database is unreachable.
            TelemetryError: another export is running.
        """
        started = time.monotonic()
        rows = days = 0
        with self._directory.lock():
            end = (now - DELAY).astimezone(UTC).date()  # the day that is not over yet
            position = self._directory.read_position() or EPOCH
            while (day := self._find_day(position, end)) < end:
                rows += self._directory.write_day(day, self._read_day(day))
                position, days = day + timedelta(days=1), days + 1
                self._directory.write_position(position)
            self._directory.write_position(max(position, end))
            for name, table in _SMALL_TABLES.items():
                self._directory.write_table(name, self._read_small(table))
            removed = self._directory.remove_before(end - timedelta(days=retention_days))
        seconds = round(time.monotonic() - started, 1)
        return {
            "days": days,
            "rows": rows,
            "removed": removed,
            "next_day": end.isoformat(),
            "seconds": seconds,
        }

    def _find_day(self, start: date, end: date) -> date:
        """The first day with answers from `start` on; `end` if there is none before it."""
        query = sa.select(sa.func.min(reccom.c.day)).where(reccom.c.day >= to_number(start))
        with self._engine.connect() as connection:
            found = connection.scalar(query)
        return end if found is None else min(to_day(found), end)

    def _read_day(self, day: date) -> Iterator[pa.RecordBatch]:
        """Read a day in the order of its request ids, which begin with their time."""
        query = (
            sa.select(reccom).where(reccom.c.day == to_number(day)).order_by(reccom.c.request_id)
        )
        with self._engine.connect().execution_options(yield_per=ROW_GROUP_ROWS) as connection:
            for rows in connection.execute(query).mappings().partitions():
                yield self._to_batch(rows)

    def _to_batch(self, rows: Sequence[Any]) -> pa.RecordBatch:
        def column(name: str) -> list[Any]:
            return [row[name] for row in rows]

        values = {
            "day": pa.array(column("day"), pa.int32()).cast(pa.date32()),
            "answered_at": pa.array(column("answered_at_us"), pa.timestamp("us", tz="UTC")),
            "version": column("version_number"),
            "movies": self._to_movies(rows),
        }
        arrays = [
            values[field.name]
            if isinstance(values.get(field.name), pa.Array)
            else _to_array(values.get(field.name) or column(field.name), field.type)
            for field in ANSWERS
        ]
        return pa.RecordBatch.from_arrays(arrays, schema=ANSWERS)

    def _to_movies(self, rows: Sequence[Any]) -> pa.Array:
        """Lists of movie ids; null where the movies of an answer's model are not known."""
        lists: list[Any] = []
        for row in rows:
            ids = self._catalogues.get_movie_ids(row["build_id"], row["version_number"])
            if ids is None:
                lists.append(None)
            else:
                dtype = movie_number_dtype(len(ids))
                lists.append([ids[i] for i in np.frombuffer(row["movie_numbers"], dtype).tolist()])
        return pa.array(lists, pa.list_(pa.string()))

    def _read_small(self, table: sa.Table) -> pa.Table:
        types = {int: pa.int64(), float: pa.float64(), str: pa.string()}
        schema = pa.schema([(c.name, types[c.type.python_type]) for c in table.columns])
        with self._engine.connect() as connection:
            rows = [dict(row) for row in connection.execute(sa.select(table)).mappings()]
        return pa.Table.from_pylist(rows, schema=schema)


def _to_array(values: list[Any], type_: pa.DataType) -> pa.Array:
    if pa.types.is_dictionary(type_):
        return pa.array(values, type_.value_type).dictionary_encode()
    return pa.array(values, type_)
