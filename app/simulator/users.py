"""The users: profiles and latent factors, generated when they are first needed."""

import math
from functools import lru_cache
from typing import NamedTuple

import numpy as np

from app.simulator.movies import DAY_SECONDS
from app.simulator.rng import Purpose, make_rng
from app.simulator.sample_data import N_FACTORS, FloatArray, Sample

#: User ids are 1 to this.
MAX_USERS = 1_000_000
_STRIDE = 610_639  # coprime to MAX_USERS: all positions have different ids
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
_AGE_BANDS = (18, 25, 35, 45, 55, 65)
#: Weight of the factors that all users of one segment (gender and age band) have in common.
_SEGMENT_WEIGHT = 0.5
_CACHED_USERS = 100_000


class UserProfile(NamedTuple):
    """The metadata API's response for a user."""

    user_id: int
    age: int
    occupation: str
    gender: str


class Users:
    """All users by id, and the order in which they sign up."""

    def __init__(self, sample: Sample, seed: int, drift: float) -> None:
        """Factors rotate by `drift` radians a day."""
        self._seed = seed
        self._drift_per_second = drift / DAY_SECONDS
        self._sample = sample
        self._sample_index = {int(user): index for index, user in enumerate(sample.users)}
        self._offset = int(make_rng(seed, Purpose.USER).integers(MAX_USERS))
        self._cached_factors = lru_cache(_CACHED_USERS)(self._make_factors)

    def is_in_sample(self, user_id: int) -> bool:
        """Return whether the sample has watches of this user."""
        return user_id in self._sample_index

    def sample_index(self, user_id: int) -> int | None:
        """Return a user's position in the sample, None for all other users."""
        return self._sample_index.get(user_id)

    def id_at(self, position: int) -> int:
        """Return the user id at a position in the order of sign-up, the sample's users first."""
        if position < len(self._sample.users):
            return int(self._sample.users[position])
        while (user := (position * _STRIDE + self._offset) % MAX_USERS + 1) in self._sample_index:
            position = self._sample_index[user]  # taken by the sample: use its position's id
        return user

    def profile(self, user_id: int) -> UserProfile:
        """Return age, occupation and gender of a user."""
        rng = make_rng(self._seed, Purpose.USER, user_id)
        age = int(np.clip(rng.normal(34, 13), 13, 90))
        gender = "M" if rng.random() < 0.6 else "F"  # noqa: PLR2004 - about as in MovieLens
        occupation = OCCUPATIONS[int(rng.integers(len(OCCUPATIONS)))]
        return UserProfile(user_id, age, occupation, gender)

    def factors(self, user_id: int, time: float) -> FloatArray:
        """Return a user's latent factors at a time (seconds since the start), [factors]."""
        initial, target = self._cached_factors(user_id)
        angle = self._drift_per_second * time
        return math.cos(angle) * initial + math.sin(angle) * target if angle else initial

    def _make_factors(self, user_id: int) -> tuple[FloatArray, FloatArray]:
        """Generate the factors at the start, and those that they rotate towards."""
        rng = make_rng(self._seed, Purpose.USER_FACTORS, user_id)
        own, target = rng.normal(size=(2, N_FACTORS))
        index = self._sample_index.get(user_id)
        if index is not None:
            return self._sample.user_factors[index], target
        profile = self.profile(user_id)
        band = int(np.searchsorted(_AGE_BANDS, profile.age, side="right"))
        segment = 2 * band + (profile.gender == "M")
        shared = make_rng(self._seed, Purpose.SEGMENT, segment).normal(size=N_FACTORS)
        return _SEGMENT_WEIGHT * shared + math.sqrt(1 - _SEGMENT_WEIGHT**2) * own, target
