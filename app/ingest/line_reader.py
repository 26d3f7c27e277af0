"""Read lines of text files, pipes or standard input in batches.

The content decides how a file is read, not its name: gzip, bzip2, xz and UTF-16 are decoded. What
is no text at all (a ZIP archive, a Parquet file, an HTML page, a Git LFS pointer) is an error.
"""

import bz2
import codecs
import gzip
import io
import lzma
import select
import stat
import sys
import zlib
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from itertools import chain
from pathlib import Path
from typing import IO, Any

from app.ingest.errors import IngestError

STDIN = "-"
#: Bytes of one read. A longer line is cut, and its parts are rejected as invalid.
READ_BYTES = 4 << 20
_PROBE_BYTES = 64
_BYTE_ORDER_MARK = codecs.BOM_UTF8

_DECOMPRESSORS: dict[bytes, Callable[[IO[bytes]], Any]] = {
    b"\x1f\x8b": lambda file: gzip.GzipFile(fileobj=file),
    b"BZh": bz2.BZ2File,
    b"\xfd7zXZ\x00": lzma.LZMAFile,
}
#: First bytes of what is not text, and what to do about it.
_OTHER_FORMATS = {
    b"\x28\xb5\x2f\xfd": "compressed with Zstandard; decompress it first: zstdcat FILE | … -",
    b"PK\x03\x04": "a ZIP archive; extract the file first",
    b"PAR1": "a Parquet file, not lines of text",
    b"SQLite format 3": "an SQLite database, not lines of text",
    b"version https://git-lfs": "a Git LFS pointer, not the file itself; run git lfs pull",
    b"<!doctype": "an HTML page, not the file itself",
    b"<html": "an HTML page, not the file itself",
}
_UTF_16 = {codecs.BOM_UTF16_LE: "utf-16-le", codecs.BOM_UTF16_BE: "utf-16-be"}


class LineReader:
    """An open file of lines; a context manager that closes it."""

    def __init__(self, name: str) -> None:
        """Open a file.

        Args:
            name: a path, also of a pipe, or `-` for standard input.

        Raises:
            IngestError: it cannot be read, or is not text.
        """
        self.name = name
        self._opened = ExitStack()
        self._peeked: Iterator[bytes] | None = None
        try:
            self._is_regular = name != STDIN and stat.S_ISREG(Path(name).stat().st_mode)
            if name != STDIN:
                # Unbuffered: a buffer would wait for more than a pipe has.
                file = Path(name).open("rb", buffering=0)  # noqa: SIM115
                self._raw: Any = self._opened.enter_context(file)
            elif sys.stdin is None:  # closed by `<&-`
                raise IngestError("standard input is closed")
            else:
                self._raw = getattr(sys.stdin.buffer, "raw", sys.stdin.buffer)
            self._file = self._open_text(self._raw)
        except (OSError, EOFError, zlib.error, lzma.LZMAError) as error:
            self._opened.close()
            raise self._to_ingest_error(error) from error
        except IngestError:
            self._opened.close()
            raise

    def __enter__(self) -> "LineReader":
        return self

    def __exit__(self, *_: object) -> None:
        self._opened.close()

    @property
    def size_bytes(self) -> int | None:
        """Size on disk; None for a pipe or standard input."""
        return Path(self.name).stat().st_size if self._is_regular else None

    @property
    def position_bytes(self) -> int:
        """Bytes of `size_bytes` read so far."""
        return self._raw.tell() if self._is_regular else 0

    def peek_lines(self) -> list[str]:
        """Return the first batch of lines, which stay to be read, also those of a pipe.

        Raises:
            IngestError: the file cannot be read.
        """
        chunks = self.read_chunks()
        first = next(chunks, b"")
        self._peeked = chain([first] if first else [], chunks)
        return split_lines(first.decode("utf-8", errors="replace"))

    def read_lines(self) -> Iterator[list[str]]:
        """Yield batches of lines without their ends (LF, CR LF or CR), decoded as UTF-8.

        Invalid bytes become U+FFFD, which no movie id contains.

        Raises:
            IngestError: the file cannot be read to its end.
        """
        for chunk in self.read_chunks():
            yield split_lines(chunk.decode("utf-8", errors="replace"))

    def read_available_lines(self) -> Iterator[list[str]]:
        """Yield lines like `read_lines`, those of a pipe as soon as they are complete.

        Raises:
            IngestError: the file cannot be read to its end.
        """
        for chunk in self.read_chunks(as_available=True):
            yield split_lines(chunk.decode("utf-8", errors="replace"))

    def wait(self, timeout_seconds: float) -> bool:
        """Wait until there is more to read, or the end; return False after the time-out."""
        return self._is_regular or wait_for_input(self._raw, timeout_seconds)

    def read_chunks(self, *, as_available: bool = False) -> Iterator[bytes]:
        """Yield the bytes in chunks that end with a line, without a byte order mark.

        A file whose first chunk contains CR and no LF has lines that end with CR; they become LF.

        Args:
            as_available: whether a chunk holds what a pipe has, without waiting for more.

        Raises:
            IngestError: the file cannot be read to its end.
        """
        if self._peeked is not None:
            yield from self._peeked
            return
        rest, is_first, has_cr_ends = b"", True, False
        # What decodes UTF-16 has no such method of its own.
        can_read1 = as_available and isinstance(self._file, io.BufferedIOBase)
        read = self._file.read1 if can_read1 else self._file.read
        try:
            while chunk := read(READ_BYTES):
                if is_first:
                    chunk, is_first = chunk.removeprefix(_BYTE_ORDER_MARK), False
                    has_cr_ends = b"\r" in chunk and b"\n" not in chunk
                if has_cr_ends:
                    chunk = chunk.replace(b"\r", b"\n")
                end = chunk.rfind(b"\n") + 1
                if can_read1 and not end and len(rest) + len(chunk) < READ_BYTES:
                    rest += chunk
                    continue
                end = end or len(chunk)
                yield rest + chunk[:end]
                rest = chunk[end:]
        except (OSError, EOFError, zlib.error, lzma.LZMAError, UnicodeError) as error:
            raise self._to_ingest_error(error) from error
        if rest:
            yield rest

    def _open_text(self, file: Any) -> Any:
        """Return the file as UTF-8 or 8-bit text, decompressed.

        Raises:
            IngestError: it is not text.
        """
        buffered = io.BufferedReader(file)
        is_stdin = self.name == STDIN and file is self._raw  # it stays open
        self._opened.callback(buffered.detach if is_stdin else buffered.close)
        start = buffered.peek(_PROBE_BYTES)[:_PROBE_BYTES]
        for magic, decompress in _DECOMPRESSORS.items():
            if start.startswith(magic):
                return self._open_text(self._opened.enter_context(decompress(buffered)))
        for magic, reason in _OTHER_FORMATS.items():
            if start.lstrip().lower().startswith(magic.lower()):
                raise IngestError(f"{self.name}: {reason}")
        for mark, encoding in _UTF_16.items():
            if start.startswith(mark):
                buffered.read(len(mark))
                return codecs.EncodedFile(buffered, "utf-8", encoding)
        return buffered

    def _to_ingest_error(self, error: Exception) -> IngestError:
        reason = getattr(error, "strerror", None) or str(error)
        return IngestError(f"cannot read {self.name}: {reason}")


def wait_for_input(file: IO[Any], timeout_seconds: float) -> bool:
    """Wait until a pipe or terminal has input, or ends; return False after the time-out."""
    return bool(select.select([file], [], [], timeout_seconds)[0])


def split_lines(text: str) -> list[str]:
    """Split a text into lines without their ends (LF or CR LF)."""
    lines = text.replace("\r\n", "\n").split("\n")
    if not lines[-1]:
        lines.pop()
    return lines
