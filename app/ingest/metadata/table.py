"""One table of metadata (users or movies) as a Parquet file, replaced atomically."""

import io
from collections.abc import Mapping
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import NamedTuple

import polars as pl

from app.atomic_files import write_file
from app.ingest.errors import IngestError
from app.ingest.metadata.parse import FAILED, REQUESTED_AT, Row
from app.ingest.schemas import Schema

#: Ids that the API did not know are requested again after this time.
_UNKNOWN_RETRY_INTERVAL = timedelta(days=30)


class MissingIds(NamedTuple):
    """The ids to request, in this order.

    Attributes:
        new: ids not requested yet, and those that the API did not know 30 days ago.
        failed: ids whose last request had no usable response, the oldest request first.
    """

    new: pl.Series
    failed: pl.Series


class MetadataTable:
    """The requested ids and their metadata; `add` buffers rows until `save`.

    Args:
        path: the Parquet file; it may not exist yet.
        schema: the columns; the first one is the id.

    Raises:
        IngestError: the file is damaged or has other columns.
    """

    def __init__(self, path: Path, schema: Schema) -> None:
        self._path = path
        self._schema = schema
        self._id_column = next(iter(schema))
        self._unsaved: list[Row] = []
        try:
            rows = pl.read_parquet(path)
            if FAILED not in rows.columns:  # a file of version 0.2.0
                rows = rows.with_columns(pl.lit(False).alias(FAILED))
            self._rows = rows.select(pl.col(name).cast(kind) for name, kind in schema.items())
        except FileNotFoundError:
            self._rows = pl.DataFrame(schema=schema)
        except (OSError, pl.exceptions.PolarsError) as error:
            raise IngestError(f"{path} is not a metadata table (remove it): {error}") from error

    @property
    def rows(self) -> int:
        """Number of ids requested so far."""
        return self._rows.height + len(self._unsaved)

    @property
    def known_rows(self) -> int:
        """Number of saved ids that the API has metadata of."""
        return self._rows.filter(self._is_known()).height

    @property
    def failed_rows(self) -> int:
        """Number of saved ids whose last request had no usable response."""
        return self._rows.filter(FAILED).height

    def select_missing(self, ids: pl.Series) -> MissingIds:
        """Return which of the ids are to be requested.

        Failed ones come last, so that they never keep a run that ends early from the others.
        """
        is_recent = pl.col(REQUESTED_AT) > _utc_now() - _UNKNOWN_RETRY_INTERVAL
        is_current = self._is_known() | (is_recent & ~pl.col(FAILED))
        current = self._rows.filter(is_current)[self._id_column]
        missing = ids.filter(~ids.is_in(current.implode()))
        failed = self._rows.filter(FAILED).sort(REQUESTED_AT)[self._id_column]
        return MissingIds(
            missing.filter(~missing.is_in(failed.implode())),
            failed.filter(failed.is_in(missing.implode())),
        )

    def add(self, ids: list[int] | list[str], rows: Mapping[str, Row | None]) -> None:
        """Buffer the result of a request.

        Args:
            ids: the requested ids.
            rows: metadata by id as text, None where the response is not usable; ids that are
                missing become rows of nulls.
        """
        now = _utc_now()
        for name in ids:
            row = rows.get(str(name), {})
            result = {FAILED: row is None, **(row or {})}
            self._unsaved.append({self._id_column: name, REQUESTED_AT: now, **result})

    def save(self) -> None:
        """Write the buffered rows to the file."""
        if not self._unsaved:
            return
        added = pl.DataFrame(self._unsaved, schema=self._schema)
        rows = pl.concat([self._rows, added]).unique(self._id_column, keep="last")
        rows = rows.sort(self._id_column)
        self._write(rows)
        self._unsaved.clear()

    def remove(self, id_: int | str) -> int:
        """Remove the saved row of an id from the file; return the number of rows (0 or 1)."""
        kept = self._rows.filter(pl.col(self._id_column) != id_)
        removed = self._rows.height - kept.height
        if removed:
            self._write(kept)
        return removed

    def _write(self, rows: pl.DataFrame) -> None:
        content = io.BytesIO()
        rows.write_parquet(content)
        write_file(self._path, content.getvalue())
        self._rows = rows

    def _is_known(self) -> pl.Expr:
        own = (self._id_column, REQUESTED_AT, FAILED)
        columns = [name for name in self._schema if name not in own]
        return pl.any_horizontal(pl.col(name).is_not_null() for name in columns)


def _utc_now() -> datetime:
    return datetime.now(UTC).replace(tzinfo=None)
