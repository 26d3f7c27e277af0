"""Durations on the command line: `90s`, `15m`, `12h`, `2d`."""

import re
from typing import Any

import click

_UNIT_SECONDS = {"s": 1, "m": 60, "h": 3600, "d": 86_400}
_DURATION = re.compile(r"(\d{1,9})([smhd])")


class Duration(click.ParamType[float]):
    """Type of an option that takes a positive duration; its value is in seconds."""

    name = "duration"

    def convert(
        self, value: Any, param: click.Parameter | None, ctx: click.Context | None
    ) -> float:
        """Convert `15m` to 900.0 seconds."""
        match = _DURATION.fullmatch(str(value))
        if not match or int(match[1]) == 0:
            self.fail(f"{value!r} is not a duration such as 90s, 15m, 12h or 2d", param, ctx)
        return float(int(match[1]) * _UNIT_SECONDS[match[2]])
