"""One run of the world: people ask, choose, watch and rate; everything is counted."""

import math
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import timedelta
from typing import Any

from app.events.grammar import Scale
from app.simulator import lines
from app.simulator.answers import Answer, Availability
from app.simulator.arrivals import Arrival, Rates, arrivals
from app.simulator.choosing import Choice, choose
from app.simulator.damage import Damage, DamageRates
from app.simulator.films import DAY
from app.simulator.stream import Output, Stream
from app.simulator.truth import Truth
from app.simulator.viewing import Viewing
from app.simulator.world import World, WorldSettings

_RATED_SHARE = 0.45
_LONGEST_DELAY = 59
_LOWEST, _HIGHEST = 1, 5


@dataclass(frozen=True)
class RunSettings:
    """All that a run is a function of, but for what is answered."""

    world: WorldSettings
    rates: Rates
    damage: DamageRates
    scale: Scale
    server: str = "localhost:8082"


class Simulation:
    """The state of a run. Whoever drives it brings answers, in any order, and lets time pass."""

    def __init__(self, settings: RunSettings, outputs: list[Output]) -> None:
        self.settings = settings
        self.world = World(settings.world)
        self.stream = Stream(Damage(settings.world.seed, settings.damage), outputs)
        self.availability = Availability()
        self.truth = Truth()
        self._clock = lines.Clock(settings.world.seed, settings.damage.short)
        self.viewing = Viewing(self.world, self._clock, self.stream)
        self._watched: dict[int, set[int]] = {}
        self.unknown_films = 0

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
            self.stream.write("accounts", [lines.account(time, arrival.user_id)])

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
            "films": self.world.films.known(time),
            "requests": self.availability.summary(),
            "answers": dict(self.availability.versions),
            "stream": self.stream.sent(),
            "versions": self.truth.versions(),
            "cold_start": self.truth.cold_start(),
        }

    def _numbers(self, arrival: Arrival, answer: Answer) -> Iterator[int]:
        known = self.world.films.known(arrival.time)
        for film in dict.fromkeys(answer.films):
            number = self.world.films.number.get(film, known)
            if number < known:
                yield number
            else:
                self.unknown_films += 1

    def _tell(self, arrival: Arrival, answer: Answer) -> None:
        moment = self.world.moment(arrival.time) + timedelta(seconds=answer.seconds)
        time = self._clock.fraction(moment, arrival.number)
        server = self.settings.server
        line = lines.recommendation(time, arrival.asked_as, server, answer.line_parts())
        if arrival.user_id:
            self.stream.write("recommendations", [line])
        else:
            self.stream.write_refused("user", line)

    def _choose(self, arrival: Arrival, films: list[int], version: str) -> None:
        user = arrival.user_id
        watched = self._watched.get(user)
        if watched is None:
            watched = self._watched[user] = self.world.watched_before(user)
        choice = choose(self.world, arrival, films, watched)
        self.truth.add(version, choice, self.world.people.is_founder(user))
        if choice.film is not None:
            watched.add(choice.film)
            self._watch(arrival, choice, choice.film)

    def _watch(self, arrival: Arrival, choice: Choice, film: int) -> None:
        own = arrival.chance
        length = int(self.world.films.lengths[film])
        share = 1 / (1 + math.exp(-1.5 * choice.worth - own.normal(0.8, 0.8)))
        stars = None
        liked = min(max(round(2.7 + choice.worth + own.normal(0, 0.5)), _LOWEST), _HIGHEST)
        if own.random() < _RATED_SHARE:
            scale = self.settings.scale
            part = (liked - _LOWEST) / (_HIGHEST - _LOWEST)
            stars = round(scale.lowest + part * (scale.highest - scale.lowest))
        minutes = max(1, int(length * share))
        delay = 1 + int(own.integers(_LONGEST_DELAY))
        self.viewing.start(delay, arrival.user_id, self.world.films.ids[film], minutes, stars)
