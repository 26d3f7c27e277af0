"""The people: who they are and what they like, made when one is asked for."""

import math
from functools import lru_cache
from typing import NamedTuple

import numpy as np

from app.simulator.movies import DAY
from app.simulator.rng import Purpose, chance
from app.simulator.sample_data import TASTES, Floats, Sample

#: User ids are 1 to this.
MOST = 1_000_000
_STRIDE = 610_639  # shares no factor with MOST, so that all places have different ids
OCCUPATIONS = [
    "other or not specified",
    "academic/educator",
    "artist",
    "clerical/admin",
    "college/grad student",
    "customer service",
    "doctor/health care",
    "executive/managerial",
    "farmer",
    "homemaker",
    "K-12 student",
    "lawyer",
    "programmer",
    "retired",
    "sales/marketing",
    "scientist",
    "self-employed",
    "technician/engineer",
    "tradesman/craftsman",
    "unemployed",
    "writer",
]
_BANDS = (18, 25, 35, 45, 55, 65)
#: How much of a taste people of one gender and age have in common.
_SHARED = 0.5
_KEPT = 100_000


class Person(NamedTuple):
    """What the information API tells of a user."""

    user_id: int
    age: int
    occupation: str
    gender: str


class People:
    """Everybody, by user id; and the order in which they come."""

    def __init__(self, sample: Sample, seed: int, drift: float) -> None:
        """With `drift`, tastes turn by so many radians a day."""
        self._seed = seed
        self._drift = drift / DAY
        self._sample = sample
        self._row = {int(user): row for row, user in enumerate(sample.users)}
        self._offset = int(chance(seed, Purpose.PERSON).integers(MOST))
        self._both = lru_cache(_KEPT)(self._make_tastes)

    def is_founder(self, user_id: int) -> bool:
        """Whether the sample knows this user."""
        return user_id in self._row

    def founder(self, user_id: int) -> int | None:
        """The sample's number of a user."""
        return self._row.get(user_id)

    def at(self, place: int) -> int:
        """The user id of the one who came at a place: first the sample's, then all others."""
        if place < len(self._sample.users):
            return int(self._sample.users[place])
        while (user := (place * _STRIDE + self._offset) % MOST + 1) in self._row:
            place = self._row[user]  # the sample's ids are taken: theirs is free
        return user

    def person(self, user_id: int) -> Person:
        """Age, occupation and gender."""
        own = chance(self._seed, Purpose.PERSON, user_id)
        age = int(np.clip(own.normal(34, 13), 13, 90))
        gender = "M" if own.random() < 0.6 else "F"  # noqa: PLR2004 - as in MovieLens, about
        return Person(user_id, age, OCCUPATIONS[int(own.integers(len(OCCUPATIONS)))], gender)

    def tastes(self, user_id: int, time: float) -> Floats:
        """What a user likes at a time, in seconds since the start."""
        base, other = self._both(user_id)
        angle = self._drift * time
        return math.cos(angle) * base + math.sin(angle) * other if angle else base

    def _make_tastes(self, user_id: int) -> tuple[Floats, Floats]:
        """Tastes at the start, and where they drift to."""
        own = chance(self._seed, Purpose.TASTE, user_id)
        base, other = own.normal(size=(2, TASTES))
        row = self._row.get(user_id)
        if row is not None:
            return self._sample.user_tastes[row], other
        who = self.person(user_id)
        segment = 2 * int(np.searchsorted(_BANDS, who.age, side="right")) + (who.gender == "M")
        shared = chance(self._seed, Purpose.SEGMENT, segment).normal(size=TASTES)
        return _SHARED * shared + math.sqrt(1 - _SHARED**2) * base, other
