"""Chance that is a function of what it is for: the same seed makes the same world.

Each movie, person, visit and second has a generator of its own, found by counting and not by
drawing (Philox): a million users cost nothing until one is asked for, and what one visit draws
changes nothing for the next.
"""

from enum import IntEnum

import numpy as np

#: Seeds below this leave room for the purpose in the generator's key.
SEED_LIMIT = 1 << 48


class Purpose(IntEnum):
    """What chance is drawn for."""

    MOVIE = 1
    TITLE = 2
    PERSON = 3
    TASTE = 10
    SEGMENT = 4
    VISIT = 5
    BURST = 6
    DAMAGE = 7
    TIME = 8
    PANEL = 9
    DESCRIPTION = 11


def chance(seed: int, purpose: Purpose, number: int = 0) -> np.random.Generator:
    """The generator of one thing."""
    return np.random.Generator(np.random.Philox(key=[seed << 8 | purpose, number]))
