"""Read lines of files in batches: plain, gzip, or standard input."""

import gzip
import io
import sys
import zlib
from collections.abc import Iterator
from pathlib import Path
from typing import IO

from app.ingest.errors import IngestError

STDIN = "-"
#: Bytes of one read. A longer line is cut, and its parts are rejected as invalid.
READ_BYTES = 4 << 20


class LineReader:
    """An open file of lines; a context manager that closes it."""

    def __init__(self, name: str) -> None:
        """Open a file.

        Args:
            name: a path, ending in .gz for a gzip file, or `-` for standard input.

        Raises:
            IngestError: it cannot be read.
        """
        self.name = name
        try:
            self._raw = sys.stdin.buffer if name == STDIN else Path(name).open("rb")  # noqa: SIM115
            self._file: IO[bytes] = self._raw
            if name.endswith(".gz"):
                self._file = io.BufferedReader(gzip.GzipFile(fileobj=self._raw))
                self._file.peek(1)
        except (OSError, EOFError, zlib.error) as error:
            raise self._to_ingest_error(error) from error

    def __enter__(self) -> "LineReader":
        return self

    def __exit__(self, *_: object) -> None:
        if self.name != STDIN:
            self._file.close()
            self._raw.close()

    @property
    def size_bytes(self) -> int | None:
        """Size on disk; None for standard input."""
        return None if self.name == STDIN else Path(self.name).stat().st_size

    @property
    def position_bytes(self) -> int:
        """Bytes of `size_bytes` read so far."""
        return 0 if self.name == STDIN else self._raw.tell()

    def read_lines(self) -> Iterator[list[str]]:
        """Yield batches of lines without their ends (LF or CR LF), decoded as UTF-8.

        Invalid bytes become U+FFFD, which no movie id contains.

        Raises:
            IngestError: the file cannot be read to its end.
        """
        for chunk in self.read_chunks():
            yield split_lines(chunk.decode("utf-8", errors="replace"))

    def read_chunks(self) -> Iterator[bytes]:
        """Yield the bytes in chunks that end with a line.

        Raises:
            IngestError: the file cannot be read to its end.
        """
        rest = b""
        try:
            while chunk := self._file.read(READ_BYTES):
                end = chunk.rfind(b"\n") + 1 or len(chunk)
                yield rest + chunk[:end]
                rest = chunk[end:]
        except (OSError, EOFError, zlib.error) as error:
            raise self._to_ingest_error(error) from error
        if rest:
            yield rest

    def _to_ingest_error(self, error: Exception) -> IngestError:
        reason = getattr(error, "strerror", None) or str(error)
        return IngestError(f"cannot read {self.name}: {reason}")


def split_lines(text: str) -> list[str]:
    """Split a text into lines without their ends (LF or CR LF)."""
    lines = text.replace("\r\n", "\n").split("\n")
    if not lines[-1]:
        lines.pop()
    return lines
