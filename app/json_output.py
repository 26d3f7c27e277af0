"""The JSON that commands print to standard output."""

import json
import math
from typing import Any

import click


def print_json(content: Any) -> None:
    """Print one line of JSON; numbers that JSON does not have (NaN, infinity) become null."""
    click.echo(json.dumps(replace_non_finite(content), allow_nan=False))


def replace_non_finite(content: Any) -> Any:
    """Return a copy with null in place of the numbers that JSON does not have."""
    if isinstance(content, float):
        return content if math.isfinite(content) else None
    if isinstance(content, dict):
        return {key: replace_non_finite(value) for key, value in content.items()}
    if isinstance(content, list | tuple):
        return [replace_non_finite(value) for value in content]
    return content
