"""Read a whole text table of attributes, of users or of movies, by the names of its columns."""

import csv
import io
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from app import logs
from app.ingest.errors import IngestError
from app.ingest.line_reader import LineReader, split_lines
from app.ingest.table_layout import find_delimiter, is_skipped, looks_like_time, plain_name

_log = logs.get(__name__)


@dataclass(frozen=True)
class TextTable:
    """The rows of a table as text; shorter rows lack their last fields.

    Attributes:
        file: name of the file, for errors.
        rows: all rows, the header included.
    """

    file: str
    rows: list[list[str]]

    def column(self, index: int, first_row: int) -> list[str | None]:
        """Return a column without the rows before `first_row`; None where it is empty."""
        rows = self.rows[first_row:]
        return [row[index].strip() or None if len(row) > index else None for row in rows]

    def find_columns(self, names: Mapping[str, Sequence[str]]) -> dict[str, int]:
        """Find columns by the names in the first row; empty where it names none of them.

        A column that looks like a time and is not read is logged.

        Args:
            names: accepted names of each field, as `plain_name` returns them.

        Raises:
            IngestError: the header lacks one of the fields, or names one twice.
        """
        header = self.rows[0] if self.rows else []
        found = find_fields(self.file, header, names)
        if not found:
            return {}
        if missing := [field for field in names if field not in found]:
            raise IngestError(
                f"{self.file}: the header has no column {' and no column '.join(missing)}"
            )
        for index, name in enumerate(header):
            if index not in found.values() and looks_like_time(self.rows[1:51], index):
                message = "a column looks like a time and is ignored"
                _log.warning(message, file=self.file, column=name.strip())
        return found


def find_fields(
    file: str, header: Sequence[str], names: Mapping[str, Sequence[str]]
) -> dict[str, int]:
    """Return the column of each field that a header names.

    Raises:
        IngestError: two columns could be the same field.
    """
    plain = [plain_name(name) for name in header]
    found = {}
    for field, accepted in names.items():
        same = [index for index, name in enumerate(plain) if name in accepted]
        # `id` is that of the table's own rows, but only where no other column is named for it.
        same = [index for index in same if plain[index] != "id"] or same
        if len(same) > 1:
            both = " and ".join(header[index].strip() for index in same)
            raise IngestError(f"{file}: the columns {both} could both be the {field}")
        if same:
            found[field] = same[0]
    return found


def read_content(path: Path) -> bytes:
    """Read a text, decompressed; one in UTF-16 with a byte order mark becomes UTF-8.

    Raises:
        IngestError: it cannot be read, or is no text.
    """
    with LineReader(str(path)) as reader:
        return b"".join(reader.read_chunks())


def decode_table(content: bytes) -> str:
    """Decode a table as UTF-8, or else as Latin-1."""
    try:
        return content.decode("utf-8")
    except UnicodeDecodeError:
        return content.decode("latin-1")


def parse_text_table(file: str, text: str) -> TextTable:
    """Split a text into rows; quoted fields may contain line feeds.

    Raises:
        IngestError: a field is longer than a table's can be.
    """
    lines = split_lines(text)
    while lines and is_skipped(lines[0]):
        lines.pop(0)
    delimiter = find_delimiter([line for line in lines[:50] if line.strip()], min_columns=2)
    if len(delimiter) > 1:
        return TextTable(file, [line.split(delimiter) for line in lines if line.strip()])
    try:
        rows = list(csv.reader(io.StringIO("\n".join(lines)), delimiter=delimiter))
    except csv.Error as error:
        raise IngestError(f"{file}: {error}") from error
    return TextTable(file, [row for row in rows if row])
