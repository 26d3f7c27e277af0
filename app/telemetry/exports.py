"""The files of the exports: one Parquet file of answers a day, and small tables of versions.

    position.json                  the next day to export; only days before it are complete
    answers/day=2026-11-26.parquet
    versions.parquet, builds.parquet, quality.parquet

Any client of Parquet can read them; docs/telemetry.md describes the columns. All files are
replaced by renaming.
"""

import json
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import date, timedelta
from pathlib import Path

import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from app.atomic_files import fsync, write_file
from app.locks import LockHeldError, exclusive_lock
from app.telemetry.errors import TelemetryError
from app.text_files import TextError, parse_json

EPOCH = date(1970, 1, 1)
ANSWERS_DIR = "answers"
_POSITION, _LOCK = "position.json", "lock"
#: Rows of a row group: what a reader holds at a time of each column.
ROW_GROUP_ROWS = 100_000
_WORDS = pa.dictionary(pa.int32(), pa.string())

#: One row per recommendation, sorted by `answered_at`.
ANSWERS = pa.schema(
    [
        ("day", pa.date32()),
        ("answered_at", pa.timestamp("us", tz="UTC")),
        ("request_id", pa.string()),
        ("slot", _WORDS),
        ("version", pa.int32()),
        ("build_id", _WORDS),
        ("user_id", pa.int64()),
        ("source", _WORDS),
        ("duration_us", pa.int64()),
        ("client_gone", pa.bool_()),
        ("is_retry", pa.bool_()),
        ("movies", pa.list_(pa.string())),
    ]
)


class ExportDirectory:
    """The directory of the exports."""

    def __init__(self, path: Path) -> None:
        self.path = path

    def read_position(self) -> date | None:
        """The next day to export; None before the first export.

        Raises:
            TelemetryError: the position is damaged.
        """
        path = self.path / _POSITION
        try:
            return date.fromisoformat(parse_json(path.read_bytes())["next_day"])
        except FileNotFoundError:
            return None
        except (TextError, KeyError, TypeError, ValueError) as error:
            raise TelemetryError(
                f"{path} is damaged (remove it to export anew): {error}"
            ) from error

    def write_position(self, next_day: date) -> None:
        """Record that all days before this one are exported."""
        content = {"format": 1, "next_day": next_day.isoformat()}
        write_file(self.path / _POSITION, json.dumps(content).encode() + b"\n")

    def day_path(self, day: date) -> Path:
        """The file of a day."""
        return self.path / ANSWERS_DIR / f"day={day}.parquet"

    def list_days(self) -> list[Path]:
        """The files of all days, oldest first."""
        return sorted((self.path / ANSWERS_DIR).glob("day=*.parquet"))

    def write_day(self, day: date, batches: Iterator[pa.RecordBatch]) -> int:
        """Write the file of a day; return its number of rows."""
        path = self.day_path(day)
        path.parent.mkdir(parents=True, exist_ok=True)
        with _open_writer(path, ANSWERS) as writer:
            return sum(_write(writer, batch) for batch in batches)

    def write_table(self, name: str, table: pa.Table) -> None:
        """Replace a small table."""
        with _open_writer(self.path / f"{name}.parquet", table.schema) as writer:
            writer.write_table(table)

    def remove_before(self, day: date) -> int:
        """Remove the files of the days before a day; return their number."""
        old = [path for path in self.list_days() if path.name < self.day_path(day).name]
        for path in old:
            path.unlink()
        return len(old)

    def remove_user(self, user: int) -> int:
        """Remove a user's answers from all days, with the lock held; return their number."""
        return sum(_remove_user(path, user) for path in self.list_days())

    @contextmanager
    def lock(self) -> Iterator[None]:
        """Hold the lock of the only writer.

        Raises:
            TelemetryError: another process holds it.
        """
        self.path.mkdir(parents=True, exist_ok=True)
        try:
            with exclusive_lock(self.path / _LOCK):
                for unfinished in self.path.rglob("*.unfinished"):
                    unfinished.unlink()
                yield
        except LockHeldError as error:
            raise TelemetryError(f"{self.path} is being written by {error.owner}") from error


def _write(writer: pq.ParquetWriter, batch: pa.RecordBatch) -> int:
    writer.write_batch(batch)
    return int(batch.num_rows)


@contextmanager
def _open_writer(path: Path, schema: pa.Schema) -> Iterator[pq.ParquetWriter]:
    unfinished = path.with_name(f".{path.name}.unfinished")
    with pq.ParquetWriter(unfinished, schema, compression="zstd") as writer:
        yield writer
    fsync(unfinished)
    unfinished.replace(path)
    fsync(path.parent)


def _remove_user(path: Path, user: int) -> int:
    """Write the file anew without a user's rows, if it has any."""
    file = pq.ParquetFile(path)
    found = sum(
        int(pc.sum(pc.equal(batch["user_id"], user)).as_py() or 0)
        for batch in file.iter_batches(ROW_GROUP_ROWS, columns=["user_id"])
    )
    if found:
        with _open_writer(path, file.schema_arrow) as writer:
            for batch in file.iter_batches(ROW_GROUP_ROWS):
                writer.write_batch(batch.filter(pc.not_equal(batch["user_id"], user)))
    return found


def to_day(number: int) -> date:
    """The date of a number of days since 1970."""
    return EPOCH + timedelta(days=number)


def to_number(day: date) -> int:
    """The days since 1970 of a date."""
    return (day - EPOCH).days
