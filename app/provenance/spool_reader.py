"""Read the spool: records that are not in the database yet, and the offsets of those that are."""

import contextlib
import json
import os
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from app import logs
from app.provenance.record_format import (
    Record,
    SegmentHeader,
    decode_header,
    decode_record,
    read_frames,
)
from app.provenance.spool_writer import (
    INSTANCE_INFO_SUFFIX,
    SEGMENT_BYTES,
    list_segments,
    lock_finished_segment,
)
from app.text_files import parse_json

OFFSETS_FILE = "offsets.json"
#: A hidden file that is older than this was left behind by a process that was killed.
_LEFTOVER_AGE_SECONDS = 60
#: More than the one record that a killed process can leave torn.
_DAMAGED_BYTES = SEGMENT_BYTES >> 8

_log = logs.get(__name__)


@dataclass(frozen=True)
class RecordBatch:
    """Consecutive records of one segment that are not committed yet.

    Attributes:
        segment: the file they were read from.
        end_offset: where the last one ends in it, in bytes.
        header: the fields that are equal in all of them.
        records: the records, in the order they were written.
    """

    segment: Path
    end_offset: int
    header: SegmentHeader
    records: list[Record]


class SpoolReader:
    """Reads a spool directory; there must be one reader at a time.

    Attributes:
        directory: the spool.
        torn_segments: the number of segments so far whose end was torn or damaged.
    """

    def __init__(self, directory: Path) -> None:
        self.directory = directory
        self.torn_segments = 0
        self._offsets: dict[str, int] = _read_offsets(directory / OFFSETS_FILE)

    def read_instance_infos(self) -> Iterator[tuple[Path, dict[str, Any]]]:
        """The files that describe instances and versions; one that is damaged is renamed."""
        for path in sorted(self.directory.glob(f"[!.]*{INSTANCE_INFO_SUFFIX}")):
            try:
                yield path, parse_json(path.read_bytes())
            except (ValueError, OSError) as error:
                _rename_damaged(path, str(error))

    def read_batches(self, segment: Path, max_records: int) -> Iterator[RecordBatch]:
        """The records of a segment that are not committed yet, so many at a time."""
        data, header, header_end = _read_segment(segment)
        if header is None:
            return
        records: list[Record] = []
        end = 0
        for payload, end in read_frames(data, max(header_end, self.committed_offset(segment))):
            records.append(decode_record(payload))
            if len(records) >= max_records:
                yield RecordBatch(segment, end, header, records)
                records = []
        if records:
            yield RecordBatch(segment, end, header, records)

    def commit(self, batches: list[RecordBatch]) -> None:
        """Save, also for after a restart, that these batches are in the database."""
        for batch in batches:
            self._offsets[batch.segment.name] = batch.end_offset
        self._write_offsets()

    def committed_offset(self, segment: Path) -> int:
        """The offset in a segment, in bytes, up to which its records are in the database."""
        return self._offsets.get(segment.name, 0)

    def remove_if_shipped(self, segment: Path) -> None:
        """Remove a segment that no process writes any more and whose records are all committed."""
        descriptor = lock_finished_segment(segment)
        if descriptor is None:
            return
        try:
            data, _, header_end = _read_segment(segment)
            offset = self._offsets.get(segment.name, header_end)
            if next(read_frames(data, offset), None) is not None:
                return  # written after it was last read
            if torn_bytes := len(data[offset:].rstrip(b"\0")):  # zeros: space that was not used
                self._report_torn(segment, torn_bytes)
            segment.unlink(missing_ok=True)
        finally:
            os.close(descriptor)
        if self._offsets.pop(segment.name, None) is not None:
            self._write_offsets()

    def clean_up(self) -> None:
        """Remove hidden files that killed processes left, and offsets of segments that are gone."""
        for path in self.directory.glob(".*"):
            with contextlib.suppress(FileNotFoundError):
                if path.is_file() and path.stat().st_mtime < time.time() - _LEFTOVER_AGE_SECONDS:
                    path.unlink()
        present = {path.name for path in list_segments(self.directory)}
        self._offsets = {k: v for k, v in self._offsets.items() if k in present}

    def _report_torn(self, segment: Path, torn_bytes: int) -> None:
        self.torn_segments += 1
        if torn_bytes > _DAMAGED_BYTES:
            kept = segment.with_suffix(".damaged")
            with contextlib.suppress(OSError):
                os.link(segment, kept)
            _log.error("segment damaged; a copy is kept", file=kept.name, bytes=torn_bytes)
        else:
            _log.warning("a record was torn when its process was killed", bytes=torn_bytes)

    def _write_offsets(self) -> None:
        # Without fsync: an offset that is lost makes records be sent again, which changes nothing.
        temporary = self.directory / f".{OFFSETS_FILE}"
        temporary.write_text(json.dumps(self._offsets))
        temporary.rename(self.directory / OFFSETS_FILE)


def _read_segment(segment: Path) -> tuple[bytes, SegmentHeader | None, int]:
    """A segment's content, its header and where that ends; no header: gone, or not a segment."""
    try:
        data = segment.read_bytes()
        payload, end = next(read_frames(data))
        return data, decode_header(payload), end
    except FileNotFoundError:
        return b"", None, 0
    except (StopIteration, ValueError):
        _rename_damaged(segment, "no segment header")
        return b"", None, 0


def _read_offsets(path: Path) -> dict[str, int]:
    try:
        return {str(k): int(v) for k, v in parse_json(path.read_bytes()).items()}
    except FileNotFoundError:
        return {}
    except (ValueError, AttributeError, TypeError):
        _log.warning("cannot read the committed offsets; records are sent again", file=path.name)
        return {}


def _rename_damaged(path: Path, reason: str) -> None:
    with contextlib.suppress(FileNotFoundError):
        path.rename(path.with_suffix(".damaged"))
        _log.error("damaged file in the spool, renamed", file=path.name, error=reason)
