"""Spelling of movie ids."""

import re

_ESCAPE = re.compile(r"%[0-9A-Fa-f]{2}")


def lower_escapes(text: str) -> str:
    """Return a movie id with the escapes `%XX` in lower case: one spelling of each id."""
    return _ESCAPE.sub(lambda match: match[0].lower(), text) if "%" in text else text
