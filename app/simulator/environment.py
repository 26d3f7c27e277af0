"""The world: its movies, its people, and what is true of them at any time."""

from dataclasses import dataclass
from datetime import datetime, timedelta

import numpy as np

from app.simulator.movies import MOST_DAYS, make_movies
from app.simulator.sample_data import DAYS, MOVIES, SEED, START, Floats, make_sample
from app.simulator.users import MOST, People

#: Where time begins unless said otherwise: when the sample ends.
SAMPLE_END = START + timedelta(days=DAYS)
_HOUR = 3600


@dataclass(frozen=True)
class WorldSettings:
    """What makes one world differ from another.

    Attributes:
        seed: of everything but the sample, from which every world grows.
        start: the world's time at its second 0.
        users: most people there can be.
        movies: movies there are at the start; never less than the sample's.
        new_movies: movies that appear each day.
        drift: how far tastes turn each day, in radians.
        days: for how long new movies are made.
    """

    seed: int = SEED
    start: datetime = SAMPLE_END
    users: int = MOST
    movies: int = MOVIES
    new_movies: float = 2.0
    drift: float = 0.02
    days: float = MOST_DAYS


class World:
    """A pure function of its settings: whoever asks, in whatever order, learns the same."""

    def __init__(self, settings: WorldSettings) -> None:
        sample, _ = make_sample(SEED)
        self.settings = settings
        self.movies = make_movies(
            sample, settings.seed, settings.movies, settings.new_movies, settings.days
        )
        self.people = People(sample, settings.seed, settings.drift)
        self.founders = min(len(sample.users), settings.users)
        watched = sample.watches.group_by("user").agg("movie").iter_rows()
        self._watched: dict[int, list[int]] = dict(watched)
        self._attention: tuple[int, Floats] = (-1, np.empty(0))

    def moment(self, time: float) -> datetime:
        """The date and time at so many seconds since the start."""
        return self.settings.start + timedelta(seconds=time)

    def utilities(self, user_id: int, time: float) -> Floats:
        """What each movie that there is would truly be worth to a user; 0 is an average movie."""
        known = self.movies.known(time)
        tastes = self.people.tastes(user_id, time)
        match = self.movies.tastes[:known] @ tastes / np.sqrt(len(tastes))
        worth: Floats = match + self.movies.quality[:known]
        return worth

    def found(self, draws: Floats, time: float) -> list[int]:
        """The movies that uniform draws find, the famous more often; each once."""
        hour = int(time // _HOUR)
        if hour != self._attention[0]:
            self._attention = (hour, self.movies.attention(hour * _HOUR))
        return list(dict.fromkeys(self._attention[1].searchsorted(draws).tolist()))

    def watched_before(self, user_id: int) -> set[int]:
        """The movies a user watched before the world's start, by the sample."""
        founder = self.people.founder(user_id)
        return set() if founder is None else set(self._watched[founder])
