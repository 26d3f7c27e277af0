"""What a retraining decided of the events it took: which are held out, and which stay out.

`data/window.json` says it, beside the data it is about, so that the same tables can be made again.
"""

from datetime import datetime
from pathlib import Path

import polars as pl
from pydantic import BaseModel, ConfigDict, Field, ValidationError

from app.ingest.errors import IngestError


class _Part(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True)


class Refused(_Part):
    """A batch that was refused: events after one moment, until another."""

    after: datetime
    until: datetime
    why: str = ""


class Cycle(_Part):
    """What stands in `data/window.json`.

    Attributes:
        before: newest event of the version before; those after it are the batch to be checked.
        test_since: events after it are held out for the rehearsal; None: the newest share is.
        test_share: that share.
        until: later events have a wrong time, and stay out.
        refused: batches that stay out.
        accepted: an operator looked at the batch and wants it in.
    """

    before: datetime | None = None
    test_since: datetime | None = None
    test_share: float = Field(0.2, gt=0, lt=1)
    until: datetime | None = None
    refused: tuple[Refused, ...] = ()
    accepted: bool = False

    def keep(self, time: str) -> pl.Expr:
        """Which rows, by their column of times, stay in; those without a time do."""
        moment = pl.col(time)
        out = pl.lit(False) if self.until is None else moment > self.until
        for batch in self.refused:
            out |= (moment > batch.after) & (moment <= batch.until)
        return ~out.fill_null(False)


def read_cycle(path: Path) -> Cycle:
    """Read the file.

    Raises:
        IngestError: it is missing, or holds something else.
    """
    try:
        return Cycle.model_validate_json(path.read_bytes())
    except OSError as error:
        raise IngestError(f"{path}: cannot be read: {error.strerror}") from error
    except ValidationError as error:
        first = error.errors()[0]
        where = ".".join(map(str, first["loc"]))
        raise IngestError(f"{path}: {where}: {first['msg']}") from error
