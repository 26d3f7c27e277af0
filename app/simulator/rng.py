"""Counter-based random generators: the same seed gives the same environment.

Each movie, user, request and second has a generator of its own, keyed by its number (Philox):
nothing is stored for the million users who are never drawn, and the draws for one request do not
shift those for the next.
"""

from enum import IntEnum

import numpy as np


class Purpose(IntEnum):
    """What a generator is for. The numbers are part of its key: never change them."""

    MOVIE = 1
    TITLE = 2
    USER = 3
    USER_FACTORS = 10
    SEGMENT = 4
    REQUEST = 5
    BURST = 6
    CORRUPTION = 7
    TIME_FORMAT = 8
    EVALUATION_USERS = 9
    MOVIE_METADATA = 11


def make_rng(seed: int, purpose: Purpose, number: int = 0) -> np.random.Generator:
    """Return the generator of one thing, at the beginning of its sequence.

    Args:
        seed: at least 0 and below 2**48 (seed and purpose share 64 bits of the key).
        purpose: the kind of thing.
        number: which one of that kind.
    """
    return np.random.Generator(np.random.Philox(key=[seed << 8 | purpose, number]))
