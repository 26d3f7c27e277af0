"""Durations on the command line: `90s`, `15m`, `12h`, `2d`."""

import re
from typing import Any

import click

_SECONDS = {"s": 1, "m": 60, "h": 3600, "d": 86_400}
_FORM = re.compile(r"(\d{1,9})([smhd])")


class Duration(click.ParamType[float]):
    """An option whose value is a duration, converted to seconds."""

    name = "duration"

    def convert(
        self, value: Any, param: click.Parameter | None, ctx: click.Context | None
    ) -> float:
        """Convert `15m` to 900.0."""
        found = _FORM.fullmatch(str(value))
        if not found or int(found[1]) == 0:
            self.fail(f"{value!r} is not a duration such as 90s, 15m, 12h or 2d", param, ctx)
        return float(int(found[1]) * _SECONDS[found[2]])
