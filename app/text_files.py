"""Text and JSON from people's files: byte order marks, wrong encodings, oversized numbers.

The messages of the errors name the line. The service imports this module, so it needs the standard
library only.
"""

import codecs
import json
import re
from typing import Any

_UTF_16_MARKS = (codecs.BOM_UTF16_LE, codecs.BOM_UTF16_BE)
#: Python converts no longer integer from text, because that takes quadratic time.
MAX_DIGITS = 4300
#: The Unix time of the year 5138: later ones cannot be shown.
_MAX_SECONDS = 1e11
_LONG_NUMBER = re.compile(rf"\d{{{MAX_DIGITS + 1},}}")


class TextError(ValueError):
    """A text cannot be understood; the message names the line."""


def decode_text(data: bytes) -> str:
    """Decode UTF-8, or UTF-16 that begins with a byte order mark; the mark is removed.

    Raises:
        TextError: an invalid byte.
    """
    encoding = "utf-16" if data.startswith(_UTF_16_MARKS) else "utf-8-sig"
    try:
        return data.decode(encoding)
    except UnicodeDecodeError as error:
        valid = data[: error.start].decode(encoding, errors="replace")
        line, name = valid.count("\n") + 1, encoding.removesuffix("-sig").upper()
        raise TextError(f"line {line}: not {name} (byte 0x{data[error.start]:02x})") from error


def decode_lossy(data: bytes) -> str:
    """Decode like `decode_text`, with U+FFFD in place of invalid bytes."""
    encoding = "utf-16" if data.startswith(_UTF_16_MARKS) else "utf-8-sig"
    return data.decode(encoding, errors="replace")


def parse_json(data: bytes) -> Any:
    """Parse JSON.

    Raises:
        TextError: it is no JSON, is nested too deeply, or contains an oversized number.
    """
    text = decode_text(data)
    try:
        return json.loads(text)
    except json.JSONDecodeError as error:
        raise TextError(f"line {error.lineno}: not JSON: {error.msg}") from error
    except RecursionError as error:
        raise TextError("not JSON: nested too deeply") from error
    except ValueError as error:
        raise explain_number(text, error) from error


def parse_json_rows(data: bytes) -> list[dict[str, Any]]:
    """Parse the JSON objects of a file that has one per line.

    A line that is none is left out: the last one was cut by a power failure, or the first one where
    only the end of the file was read.
    """
    rows = []
    for line in data.splitlines():
        try:
            row = parse_json(line)
        except TextError:
            continue
        if isinstance(row, dict):
            rows.append(row)
    return rows


def parse_seconds(value: Any) -> float | None:
    """Return a positive number of seconds in JSON, a Unix time or a duration; None for all else."""
    is_number = isinstance(value, int | float) and not isinstance(value, bool)
    return float(value) if is_number and 0 < value < _MAX_SECONDS else None


def explain_number(text: str, error: ValueError) -> TextError:
    """Return an error that names the line of the oversized number which `error` is about."""
    found = _LONG_NUMBER.search(text)
    if found is None:
        return TextError(str(error))
    line = text.count("\n", 0, found.start()) + 1
    return TextError(f"line {line}: a number of {len(found[0]):,} digits")
