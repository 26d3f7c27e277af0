"""Who asks when: decided before anybody answers, so that a slow service is asked no less."""

import math
from collections.abc import Iterator
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np

from app.simulator.environment import World
from app.simulator.movies import DAY
from app.simulator.rng import Purpose, chance

_BURST_SECONDS = 10
_INVALID_USERS = ("abc", "-1", "1.5", "%20", "12x", "null", "9999999999999999999999")


@dataclass(frozen=True)
class Rates:
    """How often people ask.

    Attributes:
        rate: requests each second of real time, on average.
        speed: seconds of the world in a second of real time.
        rhythm: 0 for the same rate at any hour, 1 for none at night and twice as much by day.
        bursts: times in an hour of real time when the rate jumps, for ten seconds.
        burst_factor: how much more is asked then.
        newcomers: share of requests of users who have just joined.
        invalid: share of requests that are none.
    """

    rate: float = 4.0
    speed: float = 1.0
    rhythm: float = 0.0
    bursts: float = 0.0
    burst_factor: float = 5.0
    newcomers: float = 0.05
    invalid: float = 0.001


class Arrival(NamedTuple):
    """One request that is due.

    Attributes:
        number: of the request, counted from 0.
        due: in seconds of real time since the start.
        time: the same moment in the world, in its seconds.
        user_id: who asks; 0 in an invalid request.
        asked_as: what stands in the request's path.
        joins: whether the user has just joined.
        chance: what this visit draws from.
    """

    number: int
    due: float
    time: float
    user_id: int
    asked_as: str
    joins: bool
    chance: np.random.Generator


def arrivals(world: World, rates: Rates) -> Iterator[Arrival]:
    """All requests, without end; a function of the world's seed, its start and the rates."""
    first = int(world.settings.start.timestamp()) << 32
    due, place, number = 0.0, world.founders, 0
    while True:
        own = chance(world.settings.seed, Purpose.VISIT, first + number)
        draws = own.random(4)
        due += -math.log(1 - draws[0]) / _rate_at(world, rates, due)
        joins = draws[1] < rates.newcomers and place < world.settings.users
        place += joins
        user = world.people.at(place - 1 if joins else int(draws[2] * place))
        asked_as = str(user)
        if draws[3] < rates.invalid:
            user, joins = 0, False
            asked_as = _INVALID_USERS[int(own.integers(len(_INVALID_USERS)))]
        yield Arrival(number, due, due * rates.speed, user, asked_as, bool(joins), own)
        number += 1


def _rate_at(world: World, rates: Rates, due: float) -> float:
    """Requests a second at a moment; a tenth of the usual rate at the least."""
    seconds = world.moment(due * rates.speed)
    second_of_day = seconds.hour * 3600 + seconds.minute * 60 + seconds.second
    # Fewest at four in the morning, most at four in the afternoon.
    daily = 1 - rates.rhythm * math.cos(2 * math.pi * (second_of_day / DAY - 1 / 6))
    window = int(due // _BURST_SECONDS)
    share = rates.bursts * _BURST_SECONDS / 3600
    if share:
        drawn = chance(world.settings.seed, Purpose.BURST, window).random()
        daily *= rates.burst_factor if drawn < share else 1
    return rates.rate * max(0.1, daily)
