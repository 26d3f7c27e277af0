"""Write found values into a parameter file and leave its comments where they are."""

import re
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import yaml

from app.atomic_files import write_file
from app.training.params import Params, parse_params
from app.training.tuning.search import get

_SECTION = re.compile(r"^(\w+):\s*(#.*)?$")
_VALUE = re.compile(r"^(\s+)(\w+):[ \t]*([^#\n]*?)([ \t]*#.*)?$")


def write_params(path: Path, template: str, params: Params, names: Sequence[str]) -> None:
    """Write `template` with the values of `names` taken from `params`, by rename.

    What the template does not spell out on lines of its own is written without comments.
    """
    text = _with_values(template, params, names)
    if parse_params(text, path) != params:
        text = yaml.safe_dump(params.model_dump(mode="json"), sort_keys=False)
    write_file(path, text.encode())


def _with_values(template: str, params: Params, names: Sequence[str]) -> str:
    lines, section = [], ""
    for line in template.splitlines():
        changed = line
        if found := _SECTION.match(line):
            section = found[1]
        elif (found := _VALUE.match(line)) and f"{section}.{found[2]}" in names:
            value = _text(get(params, f"{section}.{found[2]}"))
            changed = f"{found[1]}{found[2]}: {value}{found[4] or ''}"
        lines.append(changed)
    return "\n".join(lines) + "\n"


def _text(value: Any) -> str:
    return f"{value:g}" if isinstance(value, float) else str(value)
