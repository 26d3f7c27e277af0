"""When requests arrive and from whom: independent of the responses, so load never backs off."""

import math
from collections.abc import Iterator
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np

from app.simulator.environment import Environment
from app.simulator.movies import DAY_SECONDS
from app.simulator.rng import Purpose, make_rng

_BURST_SECONDS = 10
_MIN_RATE_FACTOR = 0.1
_INVALID_USER_IDS = ("abc", "-1", "1.5", "%20", "12x", "null", "9999999999999999999999")


@dataclass(frozen=True)
class ArrivalSettings:
    """How many requests arrive, and whose.

    Attributes:
        rate: mean requests in a second of real time.
        speed: simulated seconds in a second of real time.
        diurnal: amplitude of the daily cycle: 0 for a constant rate, 1 for none at 4:00 and twice
            the mean at 16:00 of simulated time.
        bursts: bursts of ten seconds in an hour of real time.
        burst_factor: multiplies the rate during a burst.
        new_users: share of requests by users who have just signed up.
        invalid: share of requests without a valid user id.
    """

    rate: float = 4.0
    speed: float = 1.0
    diurnal: float = 0.0
    bursts: float = 0.0
    burst_factor: float = 5.0
    new_users: float = 0.05
    invalid: float = 0.001


class Arrival(NamedTuple):
    """One request to be sent.

    Attributes:
        number: counted from 0.
        due: when to send it, in seconds of real time since the start.
        time: the same moment in simulated seconds since the start.
        user_id: 0 in an invalid request.
        path_user: the user id as text, as in the request's path.
        is_new_user: whether the user has just signed up.
        rng: what the user's choice draws from.
    """

    number: int
    due: float
    time: float
    user_id: int
    path_user: str
    is_new_user: bool
    rng: np.random.Generator


def generate_arrivals(environment: Environment, settings: ArrivalSettings) -> Iterator[Arrival]:
    """Yield requests without end, a function of the environment's settings and these."""
    seed = environment.settings.seed
    # Another start has other requests of the same users.
    first = int(environment.settings.start.timestamp()) << 32
    due, signed_up, number = 0.0, environment.initial_users, 0
    while True:
        rng = make_rng(seed, Purpose.REQUEST, first + number)
        draws = rng.random(4)
        due += -math.log(1 - draws[0]) / _rate_at(environment, settings, due)
        is_new = draws[1] < settings.new_users and signed_up < environment.settings.max_users
        signed_up += is_new
        position = signed_up - 1 if is_new else int(draws[2] * signed_up)
        user = environment.users.id_at(position)
        path_user = str(user)
        if draws[3] < settings.invalid:
            user, is_new = 0, False
            path_user = _INVALID_USER_IDS[int(rng.integers(len(_INVALID_USER_IDS)))]
        yield Arrival(number, due, due * settings.speed, user, path_user, bool(is_new), rng)
        number += 1


def _rate_at(environment: Environment, settings: ArrivalSettings, due: float) -> float:
    """Return the requests a second at a time; never less than a tenth of the mean rate."""
    moment = environment.datetime_at(due * settings.speed)
    second_of_day = moment.hour * 3600 + moment.minute * 60 + moment.second
    # Lowest at 4:00, highest at 16:00.
    factor = 1 - settings.diurnal * math.cos(2 * math.pi * (second_of_day / DAY_SECONDS - 1 / 6))
    burst_share = settings.bursts * _BURST_SECONDS / 3600
    if burst_share:
        window = int(due // _BURST_SECONDS)
        draw = make_rng(environment.settings.seed, Purpose.BURST, window).random()
        factor *= settings.burst_factor if draw < burst_share else 1
    return settings.rate * max(_MIN_RATE_FACTOR, factor)
