"""Ranges of users: tables larger than memory are read one range after the other."""

from collections.abc import Sequence
from itertools import pairwise
from typing import NamedTuple

import polars as pl


class UserRange(NamedTuple):
    """Users from `low` on and below `high`; None: no limit."""

    low: int | None
    high: int | None

    def filter(self) -> pl.Expr:
        """Return the condition that a row is of one of these users."""
        user = pl.col("user_id")
        above = pl.lit(True) if self.low is None else user >= self.low
        below = pl.lit(True) if self.high is None else user < self.high
        return above & below


def split_users(starts: Sequence[int]) -> list[UserRange]:
    """Return ranges of all users that begin at these ids, ascending; the first has no limit."""
    return [UserRange(low, high) for low, high in pairwise([None, *starts[1:], None])]
