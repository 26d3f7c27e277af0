"""The journal of the file of recent activity: each commit is written and synced here first.

A record holds all bytes that a commit writes, with their offsets. After a crash or a power failure
the records are written to the file again, in their order: whatever part of them the disk had kept,
the file is then as the last complete record left it. After a checkpoint, when the file itself is
synced, the journal is written from its beginning again.

A record counts only if its checksum, which begins with the id of the file, is right and its number
follows that of the one before. So the rest of an older record is never taken for a newer one.
"""

import os
import struct
import zlib
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import NamedTuple

from app.recent_activity.table_format import read_at

JOURNAL_NAME = "activity.journal"
_MAGIC = b"MQAJ"
_HEAD = struct.Struct("<4sIQI")
_CHECKED_FROM = 8
_WRITE = struct.Struct("<QI")

#: Offset and bytes.
Write = tuple[int, bytes]


class Record(NamedTuple):
    """A record of the journal: the number of a commit and its writes in their order."""

    sequence: int
    writes: list[Write]


class Journal:
    """The open journal of one file; `seed` is that of the file's checksums.

    Attributes:
        size: bytes since the last checkpoint.
    """

    def __init__(self, path: Path, seed: int) -> None:
        self.size = 0
        self._seed = seed
        self._descriptor = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o640)

    def close(self) -> None:
        """Close the file."""
        os.close(self._descriptor)

    def append(self, sequence: int, writes: Sequence[Write]) -> None:
        """Write a record and wait until it is on the disk."""
        body = b"".join(
            part for offset, data in writes for part in (_WRITE.pack(offset, len(data)), data)
        )
        head = _HEAD.pack(_MAGIC, 0, sequence, len(body))
        checksum = zlib.crc32(body, zlib.crc32(head[_CHECKED_FROM:], self._seed))
        record = _HEAD.pack(_MAGIC, checksum, sequence, len(body)) + body
        write_at(self._descriptor, self.size, record)
        os.fdatasync(self._descriptor)
        self.size += len(record)

    def restart(self) -> None:
        """Write the next record at the beginning; call it when the file is synced."""
        self.size = 0

    def erase(self) -> None:
        """Remove the content; call it when the file is synced."""
        os.ftruncate(self._descriptor, 0)
        os.fdatasync(self._descriptor)
        self.size = 0

    def read_records(self) -> Iterator[Record]:
        """Yield the valid records from the beginning."""
        offset, previous = 0, None
        while True:
            head = read_at(self._descriptor, offset, _HEAD.size)
            if len(head) < _HEAD.size:
                return
            magic, checksum, sequence, length = _HEAD.unpack(head)
            if magic != _MAGIC or (previous is not None and sequence != previous + 1):
                return
            body = read_at(self._descriptor, offset + _HEAD.size, length)
            expected = zlib.crc32(body, zlib.crc32(head[_CHECKED_FROM:], self._seed))
            if len(body) < length or checksum != expected:
                return
            yield Record(sequence, list(_split(body)))
            offset += _HEAD.size + length
            previous = sequence


def _split(body: bytes) -> Iterator[Write]:
    position = 0
    while position < len(body):
        offset, length = _WRITE.unpack_from(body, position)
        position += _WRITE.size
        yield offset, body[position : position + length]
        position += length


def write_at(descriptor: int, offset: int, data: bytes | bytearray) -> None:
    """Write all bytes at an offset."""
    view = memoryview(data)
    while view:
        written = os.pwrite(descriptor, view, offset)
        view, offset = view[written:], offset + written
