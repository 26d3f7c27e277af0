"""The data window of a retraining: which events are held out for the test, and which are excluded.

It is written to `data/window.json` and committed with the version, so that the same tables can be
prepared again. `app/auto_deployment/retraining_policy.py` chooses it.
"""

from datetime import datetime
from pathlib import Path

import polars as pl
from pydantic import BaseModel, ConfigDict, Field, ValidationError

from app.ingest.errors import IngestError
from app.text_files import TextError, decode_text


class _Part(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True)


class ExcludedSpan(_Part):
    """Events of a rejected batch: later than `after`, up to and including `until`."""

    after: datetime
    until: datetime
    reason: str = ""


class DataWindow(_Part):
    """The content of `data/window.json`. All times are UTC without a time zone.

    Attributes:
        previous_newest: time of the previous version's newest event; later events are the batch
            that `marquee test-data` checks. None: no batch is checked.
        test_start: time of the first event of the test side; None: `test_share` decides.
        test_share: share of the newest events that is the test side.
        max_time: later events have a wrong time and are excluded; None: no limit.
        excluded: spans that are excluded.
        skip_checks: accept the data whatever `marquee test-data` finds.
    """

    previous_newest: datetime | None = None
    test_start: datetime | None = None
    test_share: float = Field(0.2, gt=0, lt=1)
    max_time: datetime | None = None
    excluded: tuple[ExcludedSpan, ...] = ()
    skip_checks: bool = False

    def row_filter(self, time_column: str) -> pl.Expr:
        """A filter that keeps the rows within the window, and those without a time.

        Args:
            time_column: name of the column with the events' times.
        """
        time = pl.col(time_column)
        outside = pl.lit(False) if self.max_time is None else time > self.max_time
        for span in self.excluded:
            outside |= (time > span.after) & (time <= span.until)
        return ~outside.fill_null(False)


def read_window(path: Path) -> DataWindow:
    """Read `data/window.json`.

    Raises:
        IngestError: the file is missing or invalid; the message names the key.
    """
    try:
        return DataWindow.model_validate_json(decode_text(path.read_bytes()))
    except OSError as error:
        raise IngestError(f"{path}: cannot be read: {error.strerror}") from error
    except TextError as error:
        raise IngestError(f"{path}: {error}") from error
    except ValidationError as error:
        first = error.errors()[0]
        key = "".join(f"{part}: " for part in first["loc"])
        raise IngestError(f"{path}: {key}{first['msg']}") from error
