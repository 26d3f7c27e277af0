"""One table of attributes: what was asked, beside the store, replaced in one step."""

import io
from datetime import UTC, datetime, timedelta
from pathlib import Path

import polars as pl

from app.atomic_files import write_file
from app.ingest.errors import IngestError
from app.ingest.metadata.parse import ASKED, Row
from app.ingest.schemas import Schema

#: What the API did not know is asked for again after this.
_AGAIN = timedelta(days=30)


class AttributeTable:
    """Rows by id (the schema's first column); what was learnt is kept by `save`."""

    def __init__(self, path: Path, schema: Schema) -> None:
        """Read what was kept.

        Raises:
            IngestError: the file is damaged or is another table.
        """
        self._path = path
        self._schema = schema
        self._key, *_ = schema
        self._learnt: list[Row] = []
        try:
            self._rows = pl.read_parquet(path).select(
                pl.col(name).cast(kind) for name, kind in schema.items()
            )
        except FileNotFoundError:
            self._rows = pl.DataFrame(schema=schema)
        except (OSError, pl.exceptions.PolarsError) as error:
            raise IngestError(f"{path} is no table of attributes (remove it): {error}") from error

    @property
    def rows(self) -> int:
        """How many ids were asked for."""
        return self._rows.height + len(self._learnt)

    @property
    def known(self) -> int:
        """How many of them the API knows anything of."""
        return self._rows.filter(self._has_any()).height

    def missing(self, ids: pl.Series) -> pl.Series:
        """Which ids were not asked for, or long ago and in vain, in their order."""
        recent = pl.col(ASKED) > _now() - _AGAIN
        settled = self._rows.filter(self._has_any() | recent)[self._key]
        return ids.filter(~ids.is_in(settled.implode()))

    def learn(self, asked: list[int] | list[str], found: dict[str, Row]) -> None:
        """Take in what was asked for, and what the API told of some of it."""
        now = _now()
        for name in asked:
            self._learnt.append({self._key: name, ASKED: now, **found.get(str(name), {})})

    def save(self) -> None:
        """Make what was learnt durable."""
        if not self._learnt:
            return
        learnt = pl.DataFrame(self._learnt, schema=self._schema)
        rows = pl.concat([self._rows, learnt]).unique(self._key, keep="last").sort(self._key)
        content = io.BytesIO()
        rows.write_parquet(content)
        write_file(self._path, content.getvalue())
        self._rows = rows
        self._learnt.clear()

    def _has_any(self) -> pl.Expr:
        told = [name for name in self._schema if name not in (self._key, ASKED)]
        return pl.any_horizontal(pl.col(name).is_not_null() for name in told)


def _now() -> datetime:
    return datetime.now(UTC).replace(tzinfo=None)
