"""Ids of movies beyond the sample's: each number has a title of its own, without a list to keep."""

import math
from functools import cache

from app.simulator.rng import Purpose, chance
from app.simulator.sample_data import FIRST, SECOND

#: None of them stands in the sample, and none is another with one character more: the collector
#: would take one such movie for the other, damaged.
_ENDINGS = (
    "++sons",
    "+and+after",
    "+no.+2",
    "+part+two",
    "+revisited",
    "+s*o*s",
    "+vs.+the+world",
    "-in-law",
    "_+my+love",
    "_+the+reckoning",
)
_YEARS = range(1950, 2026)
_PARTS = (FIRST, SECOND, _ENDINGS, _YEARS)
TITLES = math.prod(map(len, _PARTS))
_STRIDE = 100_003  # shares no factor with TITLES, so that all numbers have different titles


def title(seed: int, number: int) -> str:
    """The movie id of one movie."""
    place = (number * _STRIDE + _offset(seed)) % TITLES
    words = []
    for part in _PARTS:
        place, at = divmod(place, len(part))
        words.append(str(part[at]))
    first, second, ending, year = words
    return f"{first}+{second}{ending}+{year}"


@cache
def _offset(seed: int) -> int:
    return int(chance(seed, Purpose.TITLE).integers(TITLES))
