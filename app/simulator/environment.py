"""The simulated environment: its movies, its users, and the true utility of each to the other."""

from dataclasses import dataclass
from datetime import datetime, timedelta

import numpy as np

from app.simulator.movies import MAX_DAYS, make_movies
from app.simulator.sample_data import DAYS, N_MOVIES, SEED, START, FloatArray, make_sample
from app.simulator.users import MAX_USERS, Users

#: Where simulated time starts by default.
SAMPLE_END = START + timedelta(days=DAYS)
_HOUR_SECONDS = 3600


@dataclass(frozen=True)
class EnvironmentSettings:
    """What an environment is a function of.

    Attributes:
        seed: of everything but the sample, which is the same in every environment.
        start: date and time at second 0 of the simulation.
        max_users: users who can sign up, those of the sample included.
        movies: movies at the start; never fewer than the sample's.
        new_movies: movies released each simulated day.
        drift: rotation of the users' factors each simulated day, in radians.
        days: simulated days for which new movies are generated.
    """

    seed: int = SEED
    start: datetime = SAMPLE_END
    max_users: int = MAX_USERS
    movies: int = N_MOVIES
    new_movies: float = 2.0
    drift: float = 0.02
    days: float = MAX_DAYS


class Environment:
    """Users and movies at any time; a pure function of the settings, whatever is read first.

    Times are seconds since `settings.start`.
    """

    def __init__(self, settings: EnvironmentSettings) -> None:
        """Generate the movies.

        Raises:
            ValueError: there are not enough titles for so many movies.
        """
        sample, _ = make_sample(SEED)
        self.settings = settings
        self.movies = make_movies(
            sample, settings.seed, settings.movies, settings.new_movies, settings.days
        )
        self.users = Users(sample, settings.seed, settings.drift)
        #: How many users there are at the start.
        self.initial_users = min(len(sample.users), settings.max_users)
        watched = sample.watches.group_by("user").agg("movie").iter_rows()
        self._sample_watches: dict[int, list[int]] = dict(watched)
        self._discovery_hour = -1
        self._discovery_cdf: FloatArray = np.empty(0)

    def datetime_at(self, time: float) -> datetime:
        """Return the simulated date and time."""
        return self.settings.start + timedelta(seconds=time)

    def utilities(self, user_id: int, time: float) -> FloatArray:
        """Return the true utility of every released movie to a user, [released movies].

        An average movie has utility 0; a user's best ones have 2 to 4.
        """
        released = self.movies.count_released(time)
        factors = self.users.factors(user_id, time)
        match = self.movies.factors[:released] @ factors / np.sqrt(len(factors))
        utilities: FloatArray = match + self.movies.quality[:released]
        return utilities

    def discover(self, draws: FloatArray, time: float) -> list[int]:
        """Map uniform draws to movies, popular ones more often; without duplicates."""
        hour = int(time // _HOUR_SECONDS)
        if hour != self._discovery_hour:
            self._discovery_hour = hour
            self._discovery_cdf = self.movies.discovery_cdf(hour * _HOUR_SECONDS)
        return list(dict.fromkeys(self._discovery_cdf.searchsorted(draws).tolist()))

    def watched_before_start(self, user_id: int) -> set[int]:
        """Return the movies that a user watched in the sample."""
        index = self.users.sample_index(user_id)
        return set() if index is None else set(self._sample_watches[index])
