"""How values are written on the pages: times, ages, durations, shares, sizes, hostile text."""

import math
import re
import time
from datetime import UTC, datetime
from typing import Any

from markupsafe import Markup

#: C0 (line feed and tab excepted), DEL, C1, and the characters that reorder or hide text.
_CONTROL = re.compile(
    "[\x00-\x08\x0b-\x1f\x7f-\x9f\u200b-\u200f\u2028-\u202e\u2060-\u2069\ufeff\ud800-\udfff]"
)
_UNKNOWN = "unknown"
_MINUTE, _HOUR, _DAY = 60, 3600, 86_400
_KIB = 1024


def show_text(value: Any) -> Any:
    r"""Make a value safe for a page, before its markup is escaped.

    None becomes `unknown`; characters that control, reorder or hide text become their escapes, such
    as `\x1b`. What is markup already stays.
    """
    if value is None:
        return _UNKNOWN
    if isinstance(value, str) and not isinstance(value, Markup):
        return _CONTROL.sub(_escape, value)
    return value


def _escape(match: re.Match[str]) -> str:
    code = ord(match[0])
    return f"\\x{code:02x}" if code <= 0xFF else f"\\u{code:04x}"  # noqa: PLR2004 - one byte


def duration(seconds: float | None) -> str:
    """Write a duration in seconds in the unit that suits it, such as `12 s` or `3.5 h`."""
    if seconds is None or not math.isfinite(seconds):
        return _UNKNOWN
    if seconds < 0:
        return f"-{duration(-seconds)}"
    if seconds < 1:
        return f"{seconds * 1000:.3g} ms"
    for limit, size, unit in (
        (2 * _MINUTE, 1, "s"),
        (2 * _HOUR, _MINUTE, "min"),
        (2 * _DAY, _HOUR, "h"),
    ):
        if seconds < limit:
            return f"{seconds / size:.3g} {unit}"
    return f"{seconds / _DAY:.1f} days"


def age(unix_seconds: float | None) -> str:
    """Write how long ago a Unix time was, or how far it lies in the future."""
    if not unix_seconds or not math.isfinite(unix_seconds):
        return "never"
    seconds = time.time() - unix_seconds
    if abs(seconds) < 1:
        return "just now"
    return f"in {duration(-seconds)}" if seconds < 0 else f"{duration(seconds)} ago"


def moment(unix_seconds: float | None) -> str | Markup:
    """Write a Unix time as an element that a script shows in the reader's zone; UTC without it."""
    try:
        time_utc = datetime.fromtimestamp(float(unix_seconds or 0), UTC)
    except (OverflowError, ValueError, OSError):
        return _UNKNOWN
    if not unix_seconds:
        return "never"
    return Markup('<time datetime="{}">{}</time>').format(
        time_utc.isoformat(timespec="seconds"), f"{time_utc:%Y-%m-%d %H:%M:%S} UTC"
    )


def moment_of_text(text: Any) -> str | Markup:
    """Write a time in ISO 8601 with a zone like `moment`; any other text stays as it is."""
    try:
        found = datetime.fromisoformat(str(text))
    except ValueError:
        return str(text)
    return moment(found.timestamp()) if found.tzinfo else str(text)


def number(value: float | None) -> str:
    """Write a number with at most four digits that count, and thousands apart."""
    if value is None or not math.isfinite(value):
        return _UNKNOWN
    if float(value).is_integer() or abs(value) >= 1000:  # noqa: PLR2004 - no digits of a fraction
        return f"{value:,.0f}"
    return f"{value:.3g}"


def percent(ratio: float | None) -> str:
    """Write a ratio from 0 to 1 in percent; 99.97 % is not rounded to 100 %."""
    if ratio is None or not math.isfinite(ratio):
        return _UNKNOWN
    return f"{ratio * 100:.4g} %" if ratio > 0.99 else f"{ratio * 100:.3g} %"  # noqa: PLR2004


def size(size_bytes: float | None) -> str:
    """Write a number of bytes in KiB, MiB, GiB or TiB."""
    if size_bytes is None or not math.isfinite(size_bytes):
        return _UNKNOWN
    value, units = float(size_bytes), ["bytes", "KiB", "MiB", "GiB", "TiB"]
    while value >= _KIB and len(units) > 1:
        value, units = value / _KIB, units[1:]
    return f"{value:,.0f} {units[0]}" if units[0] == "bytes" else f"{value:.3g} {units[0]}"


FILTERS = {
    "duration": duration,
    "age": age,
    "moment": moment,
    "moment_of_text": moment_of_text,
    "number": number,
    "percent": percent,
    "size": size,
}
