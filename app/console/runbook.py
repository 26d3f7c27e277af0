"""The sections of the runbook (docs/operations.md), one for each alert."""

import re
from pathlib import Path

_HEADING = re.compile(r"^### +(\w+)\s*$", re.MULTILINE)
_NEXT = re.compile(r"^#{1,3} ", re.MULTILINE)


def read_section(path: Path, alert: str) -> str | None:
    """Return the text of an alert's section, in Markdown; None without one.

    Raises:
        OSError: the page cannot be read.
    """
    text = path.read_text(encoding="utf-8")
    for heading in _HEADING.finditer(text):
        if heading[1] == alert:
            rest = text[heading.end() :]
            following = _NEXT.search(rest)
            return rest[: following.start() if following else None].strip()
    return None
