"""Corruption of log lines: one inserted character, or a random text in place of a movie id.

Why a parser must reject a corrupted line follows from the position of the corruption. The reason
is derived here from that position, not by calling the parser, which it serves to test.
"""

import string
from dataclasses import dataclass
from typing import Literal, NamedTuple

import numpy as np

from app.simulator import log_format
from app.simulator.rng import Purpose, make_rng

LineKind = Literal["watches", "ratings", "recommendations", "accounts"]
Method = Literal["insert", "random_id"]

#: What a line's request begins with: all that comes before the movie id, or before the rest.
_REQUEST_STARTS: dict[LineKind, str] = {
    "watches": log_format.WATCH_REQUEST,
    "ratings": log_format.RATE_REQUEST,
    "accounts": log_format.ACCOUNT_REQUEST,
    "recommendations": log_format.RECOMMENDATION_REQUEST.strip(),
}
#: What follows the movie id: a separator, and the reason when the field after it is corrupted.
_AFTER_MOVIE: dict[LineKind, tuple[str, str]] = {
    "watches": ("/", "minute"),
    "ratings": ("=", "rating"),
}
_INSERTED = string.ascii_letters + " " * 12
_RANDOM_ID_LENGTH = 15


class CorruptedLine(NamedTuple):
    """A corrupted line and the reason to reject it; None when it is still a valid line."""

    line: str
    reason: str | None


@dataclass(frozen=True)
class CorruptionRates:
    """Shares of lines that are corrupted.

    Attributes:
        inserted: lines with one character inserted.
        random_ids: watches and ratings with a random text as movie id.
        short_times: times at second :00 without seconds, which is valid.
    """

    inserted: float = 0.001
    random_ids: float = 0.0001
    short_times: float = 1.0


class LineCorruptor:
    """Corrupts the set share of lines; draws how many lines to skip until the next."""

    def __init__(self, seed: int, rates: CorruptionRates) -> None:
        self._rng = make_rng(seed, Purpose.CORRUPTION)
        self._rates: dict[Method, float] = {
            "insert": rates.inserted,
            "random_id": rates.random_ids,
        }
        self._skip = {method: self._draw_skip(rate) for method, rate in self._rates.items()}

    def select(self, count: int) -> list[tuple[int, Method]]:
        """Return which of the next `count` lines to corrupt, ascending, and how; each once."""
        selected: dict[int, Method] = {}
        for method, rate in self._rates.items():
            while self._skip[method] < count:
                selected[self._skip[method]] = method
                self._skip[method] += 1 + self._draw_skip(rate)
            self._skip[method] -= count
        return sorted(selected.items())

    def corrupt(self, kind: LineKind, line: str, method: Method) -> CorruptedLine:
        """Corrupt one line; a line without a movie id gets an inserted character."""
        if method == "random_id" and kind in _AFTER_MOVIE:
            return CorruptedLine(_replace_movie_id(self._rng, kind, line), "movie")
        return _insert_character(self._rng, kind, line)

    def _draw_skip(self, rate: float) -> int:
        return int(self._rng.geometric(rate)) - 1 if rate > 0 else 1 << 62


def _replace_movie_id(rng: np.random.Generator, kind: LineKind, line: str) -> str:
    start = line.index(_REQUEST_STARTS[kind]) + len(_REQUEST_STARTS[kind])
    end = line.rindex(_AFTER_MOVIE[kind][0])
    characters = list(string.ascii_letters + string.digits)
    text = "".join(rng.choice(characters, _RANDOM_ID_LENGTH))
    # No valid movie id has a capital letter.
    text += str(rng.choice(list(string.ascii_uppercase)))
    return line[:start] + text + line[end:]


def _insert_character(rng: np.random.Generator, kind: LineKind, line: str) -> CorruptedLine:
    time, user, request = line.split(",", 2)
    request_start = len(time) + len(user) + 2
    movie_start = request_start + len(_REQUEST_STARTS[kind])
    # Of a recommendation only the constant part of the line, not the result.
    end = movie_start - 1 if kind == "recommendations" else len(line)
    position = int(rng.integers(end + 1))
    character = _INSERTED[int(rng.integers(len(_INSERTED)))]
    corrupted = line[:position] + character + line[position:]
    if position <= len(time):
        return CorruptedLine(corrupted, "time")
    if position < request_start:
        return CorruptedLine(corrupted, "user")
    if kind not in _AFTER_MOVIE or position < movie_start:
        return CorruptedLine(corrupted, "request")
    separator, reason = _AFTER_MOVIE[kind]
    if position > request_start + request.rindex(separator):
        return CorruptedLine(corrupted, reason)
    # A movie id with one more lower-case letter is still a valid id.
    return CorruptedLine(corrupted, None if character.islower() else "movie")
