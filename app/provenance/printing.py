"""A trace as a table for people: a name and a value a line."""

from collections.abc import Iterator
from typing import Any

_WIDTH = 26


def lines(record: dict[str, Any], indent: str = "") -> Iterator[str]:
    """The lines of a record, nested ones indented, lists of movies numbered."""
    for name, value in record.items():
        label = f"{indent}{name:<{_WIDTH - len(indent)}}"
        if isinstance(value, dict):
            yield f"{indent}{name}"
            yield from lines(value, indent + "  ")
        elif isinstance(value, list) and value and isinstance(value[0], dict):
            for one in value:
                yield f"{indent}{name}"
                yield from lines(one, indent + "  ")
        elif isinstance(value, list):
            yield f"{indent}{name}"
            yield from (f"{indent}  {rank:>2}  {item}" for rank, item in enumerate(value, 1))
        else:
            yield f"{label}{'unknown' if value is None else value}"
