"""The JSON that commands print to standard output."""

import json
import math
from typing import Any

import click


def print_json(content: Any) -> None:
    """Print one line of JSON; numbers that JSON does not have (NaN, infinity) become null."""
    click.echo(json.dumps(_replace_non_finite(content), allow_nan=False))


def _replace_non_finite(content: Any) -> Any:
    if isinstance(content, float):
        return content if math.isfinite(content) else None
    if isinstance(content, dict):
        return {key: _replace_non_finite(value) for key, value in content.items()}
    if isinstance(content, list | tuple):
        return [_replace_non_finite(value) for value in content]
    return content
