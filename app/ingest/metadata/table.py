"""One table of metadata (users or movies) as a Parquet file, replaced atomically."""

import io
from datetime import UTC, datetime, timedelta
from pathlib import Path

import polars as pl

from app.atomic_files import write_file
from app.ingest.errors import IngestError
from app.ingest.metadata.parse import REQUESTED_AT, Row
from app.ingest.schemas import Schema

#: Ids that the API did not know are requested again after this time.
_UNKNOWN_RETRY_INTERVAL = timedelta(days=30)


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
            self._rows = pl.read_parquet(path).select(
                pl.col(name).cast(kind) for name, kind in schema.items()
            )
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

    def select_missing(self, ids: pl.Series) -> pl.Series:
        """Return the ids to request, in their order: new ones, and unknown ones after 30 days."""
        is_recent = pl.col(REQUESTED_AT) > _utc_now() - _UNKNOWN_RETRY_INTERVAL
        current = self._rows.filter(self._is_known() | is_recent)[self._id_column]
        return ids.filter(~ids.is_in(current.implode()))

    def add(self, ids: list[int] | list[str], rows: dict[str, Row]) -> None:
        """Buffer the result of a request.

        Args:
            ids: the requested ids.
            rows: metadata by id as text; ids that are missing become rows of nulls.
        """
        now = _utc_now()
        for name in ids:
            row = {self._id_column: name, REQUESTED_AT: now, **rows.get(str(name), {})}
            self._unsaved.append(row)

    def save(self) -> None:
        """Write the buffered rows to the file."""
        if not self._unsaved:
            return
        added = pl.DataFrame(self._unsaved, schema=self._schema)
        rows = pl.concat([self._rows, added]).unique(self._id_column, keep="last")
        rows = rows.sort(self._id_column)
        content = io.BytesIO()
        rows.write_parquet(content)
        write_file(self._path, content.getvalue())
        self._rows = rows
        self._unsaved.clear()

    def _is_known(self) -> pl.Expr:
        columns = [name for name in self._schema if name not in (self._id_column, REQUESTED_AT)]
        return pl.any_horizontal(pl.col(name).is_not_null() for name in columns)


def _utc_now() -> datetime:
    return datetime.now(UTC).replace(tzinfo=None)
