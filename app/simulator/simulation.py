"""One run of the world: people ask, choose, watch and rate; everything is counted."""

import math
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import timedelta
from typing import Any

from app.ingest.log_parser import RatingScale
from app.simulator import log_format
from app.simulator.arrivals import Arrival, Rates, arrivals
from app.simulator.choice_model import Choice, choose
from app.simulator.corruption import Damage, DamageRates
from app.simulator.environment import World, WorldSettings
from app.simulator.log_writer import Output, Stream
from app.simulator.movies import DAY
from app.simulator.responses import Answer, Availability
from app.simulator.utility_metrics import Truth
from app.simulator.watch_sessions import Viewing

_RATED_SHARE = 0.45
_LONGEST_DELAY = 59
_LOWEST, _HIGHEST = 1, 5


@dataclass(frozen=True)
class RunSettings:
    """All that a run is a function of, but for what is answered."""

    world: WorldSettings
    rates: Rates
    damage: DamageRates
    scale: RatingScale
    server: str = "localhost:8082"


class Simulation:
    """The state of a run. Whoever drives it brings answers, in any order, and lets time pass."""

    def __init__(self, settings: RunSettings, outputs: list[Output]) -> None:
        self.settings = settings
        self.world = World(settings.world)
        self.stream = Stream(Damage(settings.world.seed, settings.damage), outputs)
        self.availability = Availability()
        self.truth = Truth()
        self._clock = log_format.Clock(settings.world.seed, settings.damage.short)
        self.viewing = Viewing(self.world, self._clock, self.stream)
        self._watched: dict[int, set[int]] = {}
        self.unknown_movies = 0

    def arrivals(self, days: float | None) -> Iterator[Arrival]:
        """All requests of so many days, or without end."""
        for arrival in arrivals(self.world, self.settings.rates):
            if days is not None and arrival.time >= days * DAY:
                return
            yield arrival

    def begin(self, arrival: Arrival) -> None:
        """Somebody comes, and may join first."""
        if arrival.joins:
            time = self._clock.second(self.world.moment(arrival.time))
            self.stream.write("accounts", [log_format.account(time, arrival.user_id)])

    def answered(self, arrival: Arrival, answer: Answer) -> None:
        """They were answered, or not: it is told, and they choose what to watch."""
        self.availability.count(arrival, answer)
        self._tell(arrival, answer)
        if arrival.user_id:
            self._choose(arrival, list(self._numbers(arrival, answer)), answer.version)

    def unasked(self, arrival: Arrival) -> None:
        """They find something by themselves: nobody was asked."""
        if arrival.user_id:
            self._choose(arrival, [], "none")

    def summary(self) -> dict[str, Any]:
        """What `marquee simulate` prints at the end."""
        time = self.viewing.now
        return {
            "seed": self.settings.world.seed,
            "start": self.settings.world.start.isoformat(),
            "days": round(time / DAY, 4),
            "users": len(self._watched),
            "movies": self.world.movies.known(time),
            "requests": self.availability.summary(),
            "answers": dict(self.availability.versions),
            "stream": self.stream.sent(),
            "versions": self.truth.versions(),
            "cold_start": self.truth.cold_start(),
        }

    def _numbers(self, arrival: Arrival, answer: Answer) -> Iterator[int]:
        known = self.world.movies.known(arrival.time)
        for movie in dict.fromkeys(answer.movies):
            number = self.world.movies.number.get(movie, known)
            if number < known:
                yield number
            else:
                self.unknown_movies += 1

    def _tell(self, arrival: Arrival, answer: Answer) -> None:
        moment = self.world.moment(arrival.time) + timedelta(seconds=answer.seconds)
        time = self._clock.fraction(moment, arrival.number)
        server = self.settings.server
        line = log_format.recommendation(time, arrival.asked_as, server, answer.line_parts())
        if arrival.user_id:
            self.stream.write("recommendations", [line])
        else:
            self.stream.write_refused("user", line)

    def _choose(self, arrival: Arrival, movies: list[int], version: str) -> None:
        user = arrival.user_id
        watched = self._watched.get(user)
        if watched is None:
            watched = self._watched[user] = self.world.watched_before(user)
        choice = choose(self.world, arrival, movies, watched)
        self.truth.add(version, choice, self.world.people.is_founder(user))
        if choice.movie is not None:
            watched.add(choice.movie)
            self._watch(arrival, choice, choice.movie)

    def _watch(self, arrival: Arrival, choice: Choice, movie: int) -> None:
        own = arrival.chance
        length = int(self.world.movies.lengths[movie])
        share = 1 / (1 + math.exp(-1.5 * choice.worth - own.normal(0.8, 0.8)))
        stars = None
        liked = min(max(round(2.7 + choice.worth + own.normal(0, 0.5)), _LOWEST), _HIGHEST)
        if own.random() < _RATED_SHARE:
            scale = self.settings.scale
            part = (liked - _LOWEST) / (_HIGHEST - _LOWEST)
            stars = round(scale.min_rating + part * (scale.max_rating - scale.min_rating))
        minutes = max(1, int(length * share))
        delay = 1 + int(own.integers(_LONGEST_DELAY))
        self.viewing.start(delay, arrival.user_id, self.world.movies.ids[movie], minutes, stars)
