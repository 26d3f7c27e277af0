"""Text from outside, made harmless for a terminal."""

import re

#: C0 (line feed excepted), DEL and C1: they move the cursor, set colours or the window's title.
_CONTROL = re.compile(r"[\x00-\x09\x0b-\x1f\x7f-\x9f]")


def escape_control_characters(text: str) -> str:
    r"""Replace control characters except line feeds by their escapes, such as `\x1b`."""
    return _CONTROL.sub(lambda match: f"\\x{ord(match[0]):02x}", text)
