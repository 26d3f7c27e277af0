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
from app.provenance.quarantine import Quarantine, UnreadableError
from app.provenance.record_format import (
    READABLE_FORMATS,
    Record,
    SegmentHeader,
    decode_header,
    decode_info,
    decode_record,
    get_format,
    read_frames,
)
from app.provenance.spool_writer import (
    INSTANCE_INFO_SUFFIX,
    SEGMENT_BYTES,
    SEGMENT_SUFFIX,
    list_segments,
    lock_finished_segment,
)
from app.provenance.tables import instance_rows
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
        records: the records, in the order they were written; without those that cannot be read.
    """

    segment: Path
    end_offset: int
    header: SegmentHeader
    records: list[Record]


class SpoolReader:
    """Reads a spool directory; there must be one reader at a time.

    What it cannot read is moved to the quarantine, so that it reads everything after it.

    Args:
        directory: the spool.
        quarantine: that of the spool; by default one with default bounds.

    Attributes:
        directory: the spool.
        quarantine: that of the spool.
        torn_segments: the number of segments so far whose end was torn or damaged.
    """

    def __init__(self, directory: Path, quarantine: Quarantine | None = None) -> None:
        self.directory = directory
        self.quarantine = quarantine or Quarantine(directory)
        self.torn_segments = 0
        self._offsets: dict[str, int] = _read_offsets(directory / OFFSETS_FILE)

    def read_instance_infos(self) -> Iterator[tuple[Path, dict[str, dict[str, Any]]]]:
        """The files that describe instances and versions, and the row of each table in them."""
        for path in sorted(self.directory.glob(f"[!.]*{INSTANCE_INFO_SUFFIX}")):
            try:
                rows = _read_instance_info(path)
            except UnreadableError as error:
                self.quarantine.add(path, error)
            except FileNotFoundError:
                continue
            else:
                yield path, rows

    def read_batches(self, segment: Path, max_records: int) -> Iterator[RecordBatch]:
        """The records of a segment that are not committed yet, so many at a time.

        The last batch is empty where no record after it can be read.
        """
        data, header, header_end = self._read_segment(segment)
        if header is None:
            return
        records: list[Record] = []
        number = get_format(segment.name, SEGMENT_SUFFIX)
        start = end = max(header_end, self.committed_offset(segment))
        for payload, end in read_frames(data, start):
            try:
                records.append(decode_record(payload, number))
            except ValueError as error:
                self.quarantine.add_link(segment, UnreadableError("content", str(error)))
            if len(records) >= max_records:
                yield RecordBatch(segment, end, header, records)
                records, start = [], end
        if end > start:
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
            data, header, header_end = self._read_segment(segment)
            if header is None:
                return
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
            self.quarantine.add_link(segment, _describe_damage(torn_bytes))
        else:
            _log.warning("a record was torn when its process was killed", bytes=torn_bytes)

    def requeue(self) -> None:
        """Move files of the quarantine that can be read by now back into the spool.

        A shipper calls it at its start: it may know formats that the one before did not.
        """
        self.quarantine.adopt_old_files()
        moved, kept = self.quarantine.requeue(check_readable)
        if moved:
            _log.info("files of the quarantine can be read now", files=len(moved))
        if kept:
            _log.warning("files of the quarantine cannot be read", files=len(kept))

    def _read_segment(self, segment: Path) -> tuple[bytes, SegmentHeader | None, int]:
        """A segment's content, its header and where that ends; no header: gone, or unreadable."""
        try:
            return _read_segment(segment)
        except FileNotFoundError:
            return b"", None, 0
        except UnreadableError as error:
            self.quarantine.add(segment, error)
            return b"", None, 0

    def _write_offsets(self) -> None:
        # Without fsync: an offset that is lost makes records be sent again, which changes nothing.
        temporary = self.directory / f".{OFFSETS_FILE}"
        temporary.write_text(json.dumps(self._offsets))
        temporary.rename(self.directory / OFFSETS_FILE)


def check_readable(path: Path) -> None:
    """Check that this program can read a segment or a description as a whole.

    Raises:
        UnreadableError: it cannot.
        FileNotFoundError: there is no such file.
    """
    if not path.name.endswith(SEGMENT_SUFFIX):
        _read_instance_info(path)
        return
    data, _, start = _read_segment(path)
    number, end = get_format(path.name, SEGMENT_SUFFIX), start
    for payload, frame_end in read_frames(data, start):
        try:
            decode_record(payload, number)
        except ValueError as error:
            raise UnreadableError("content", str(error)) from error
        end = frame_end
    if (torn_bytes := len(data[end:].rstrip(b"\0"))) > _DAMAGED_BYTES:
        raise _describe_damage(torn_bytes)


def _read_segment(segment: Path) -> tuple[bytes, SegmentHeader, int]:
    """A segment's content, its header and where that ends.

    Raises:
        UnreadableError: its format is unknown, or it has no header.
        FileNotFoundError: there is no such file.
    """
    _check_format(segment, SEGMENT_SUFFIX)
    try:
        data = segment.read_bytes()
        payload, end = next(read_frames(data), (b"", 0))
        return data, decode_header(payload), end
    except (ValueError, PermissionError) as error:
        raise UnreadableError("content", f"no segment header: {error}") from error


def _read_instance_info(path: Path) -> dict[str, dict[str, Any]]:
    """The row of each table in a description.

    Raises:
        UnreadableError: its format is unknown, or it is none.
        FileNotFoundError: there is no such file.
    """
    _check_format(path, INSTANCE_INFO_SUFFIX)
    try:
        number = get_format(path.name, INSTANCE_INFO_SUFFIX)
        return instance_rows(decode_info(path.read_bytes(), number))
    except (ValueError, PermissionError) as error:
        raise UnreadableError("content", str(error)) from error


def _check_format(path: Path, suffix: str) -> None:
    number = get_format(path.name, suffix)
    if number not in READABLE_FORMATS:
        readable = " and ".join(map(str, READABLE_FORMATS))
        raise UnreadableError("format", f"format {number}; this program reads {readable}")


def _describe_damage(torn_bytes: int) -> UnreadableError:
    return UnreadableError("content", f"damaged; the last {torn_bytes:,} bytes are lost")


def _read_offsets(path: Path) -> dict[str, int]:
    try:
        return {str(k): int(v) for k, v in parse_json(path.read_bytes()).items()}
    except FileNotFoundError:
        return {}
    except (ValueError, AttributeError, TypeError):
        _log.warning("cannot read the committed offsets; records are sent again", file=path.name)
        return {}
