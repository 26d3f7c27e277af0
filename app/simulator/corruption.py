"""What spoils a line: one character too many, anywhere; or a random text for a movie id.

What a damaged line must be refused for follows from where it was hit; that is said here by
construction, and not by asking the parser that will read it.
"""

import string
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np

from app.simulator import log_format
from app.simulator.rng import Purpose, chance

#: Where a line of a kind says what it says: the text before the movie id, or before the rest.
_HEADS = {
    "watches": log_format.WATCH,
    "ratings": log_format.RATE,
    "accounts": log_format.ACCOUNT,
    "recommendations": log_format.RECOMMENDATION.strip(),
}
_TAILS = {"watches": ("/", "minute"), "ratings": ("=", "rating")}
_LETTERS = string.ascii_letters + " " * 12
_RANDOM_ID = 15


class Hit(NamedTuple):
    """A damaged line: its text, and why it must be refused; None when it still looks right."""

    line: str
    reason: str | None


@dataclass(frozen=True)
class DamageRates:
    """Shares of lines that are damaged.

    Attributes:
        inserted: lines with one character inserted.
        random_ids: lines (watched and rated movies) with a random text for a movie id.
        short: times at second :00 without the seconds (no damage, but as in the real stream).
    """

    inserted: float = 0.001
    random_ids: float = 0.0001
    short: float = 1.0


class Damage:
    """Hits lines, as many as it should: it draws how many lines pass until the next."""

    def __init__(self, seed: int, rates: DamageRates) -> None:
        self._chance = chance(seed, Purpose.DAMAGE)
        self._shares = {"inserted": rates.inserted, "random": rates.random_ids}
        self._left = {name: self._draw(share) for name, share in self._shares.items()}

    def pick(self, count: int) -> list[tuple[int, str]]:
        """Which of the next so many lines are hit, and how; each at most once."""
        hits: dict[int, str] = {}
        for name, share in self._shares.items():
            while self._left[name] < count:
                hits[self._left[name]] = name
                self._left[name] += 1 + self._draw(share)
            self._left[name] -= count
        return sorted(hits.items())

    def hit(self, kind: str, line: str, how: str) -> Hit:
        """Damage one line."""
        if how == "random" and kind in _TAILS:
            return Hit(_replace_id(self._chance, kind, line), "movie")
        return _insert(self._chance, kind, line)

    def _draw(self, share: float) -> int:
        """Lines that pass unhurt before the next is hit."""
        return int(self._chance.geometric(share)) - 1 if share > 0 else 1 << 62


def _replace_id(own: np.random.Generator, kind: str, line: str) -> str:
    start = line.index(_HEADS[kind]) + len(_HEADS[kind])
    end = line.rindex(_TAILS[kind][0])
    letters = list(string.ascii_letters + string.digits)
    # A capital letter, which no movie id has, is always among them.
    text = "".join(own.choice(letters, _RANDOM_ID)) + str(own.choice(list(string.ascii_uppercase)))
    return line[:start] + text + line[end:]


def _insert(own: np.random.Generator, kind: str, line: str) -> Hit:
    time, user, request = line.split(",", 2)
    before = len(time) + len(user) + 2  # where the request begins
    # Of a recommendation's line only the part that is the same in all is hit.
    end = before + len(_HEADS[kind]) - 1 if kind == "recommendations" else len(line)
    at = int(own.integers(end + 1))
    letter = _LETTERS[int(own.integers(len(_LETTERS)))]
    spoiled = line[:at] + letter + line[at:]
    if at <= len(time):
        return Hit(spoiled, "time")
    if at < before:
        return Hit(spoiled, "user")
    if kind not in _TAILS or at < before + len(_HEADS[kind]):
        return Hit(spoiled, "request")
    sign, reason = _TAILS[kind]
    if at > before + request.rindex(sign):
        return Hit(spoiled, reason)
    # A lower-case letter too many still looks like a movie id.
    return Hit(spoiled, None if letter.islower() else "movie")
