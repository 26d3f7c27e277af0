"""Files of lines, read in blocks: plain, gzip, or standard input."""

import gzip
import io
import sys
import zlib
from collections.abc import Iterator
from pathlib import Path
from typing import IO

from app.ingest.errors import EventsError

#: Bytes read at once. A longer line than this is cut, and refused as the damage it is.
BLOCK_BYTES = 4 << 20


class Source:
    """One file of lines, opened; a context manager that closes it."""

    def __init__(self, name: str) -> None:
        """Open `name`: a path, ending in .gz where it is gzip, or `-` for standard input.

        Raises:
            EventsError: it cannot be read.
        """
        self.name = name
        try:
            self._raw = sys.stdin.buffer if name == "-" else Path(name).open("rb")  # noqa: SIM115
            self._file: IO[bytes] = self._raw
            if name.endswith(".gz"):
                self._file = io.BufferedReader(gzip.GzipFile(fileobj=self._raw))
                self._file.peek(1)
        except (OSError, EOFError, zlib.error) as error:
            raise self._unreadable(error) from error

    def __enter__(self) -> "Source":
        return self

    def __exit__(self, *_: object) -> None:
        if self.name != "-":
            self._file.close()
            self._raw.close()

    @property
    def size(self) -> int | None:
        """Bytes on disk; None where nobody knows."""
        return None if self.name == "-" else Path(self.name).stat().st_size

    @property
    def position(self) -> int:
        """Bytes of `size` read so far."""
        return 0 if self.name == "-" else self._raw.tell()

    def blocks(self) -> Iterator[list[str]]:
        """Lines without their ends (line feed, or CR LF), a block at a time, as UTF-8.

        Bytes that are no UTF-8 become U+FFFD, which no movie id holds.

        Raises:
            EventsError: the file ends or breaks off in a way a file should not.
        """
        for block in self.bytes_blocks():
            yield split_lines(block.decode("utf-8", errors="replace"))

    def bytes_blocks(self) -> Iterator[bytes]:
        """The bytes, in blocks that end where a line does."""
        rest = b""
        try:
            while chunk := self._file.read(BLOCK_BYTES):
                end = chunk.rfind(b"\n") + 1 or len(chunk)
                yield rest + chunk[:end]
                rest = chunk[end:]
        except (OSError, EOFError, zlib.error) as error:
            raise self._unreadable(error) from error
        if rest:
            yield rest

    def _unreadable(self, error: Exception) -> EventsError:
        reason = getattr(error, "strerror", None) or str(error)
        return EventsError(f"cannot read {self.name}: {reason}")


def split_lines(text: str) -> list[str]:
    """The lines of a text, without their ends (line feed, or CR LF)."""
    lines = text.replace("\r\n", "\n").split("\n")
    if not lines[-1]:
        lines.pop()
    return lines
