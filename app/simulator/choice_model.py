"""What a user watches next: the best, as they see it, of what is recommended and what they find."""

from dataclasses import dataclass

import numpy as np

from app.simulator.arrivals import Arrival
from app.simulator.environment import World

#: Movies a user would come across without any help.
DISCOVERIES = 8
#: How far a movie looks better or worse than it is (Gumbel's scale).
_MISJUDGED = 0.3
_LONGEST_LIST = 50


@dataclass(frozen=True)
class Choice:
    """What one visit led to; utilities are true ones.

    Attributes:
        movie: what the user watches, None when there is nothing new.
        worth: its utility.
        unaided: of the movie the user would have chosen from their own discoveries.
        recommended: of the movie the user would choose from the recommended ones alone.
        listed: of all recommended movies that are new to the user, on average.
        best: of the best movie there is that is new to the user.
        watched: how many movies the user had watched before.
    """

    movie: int | None
    worth: float
    unaided: float
    recommended: float | None
    listed: float | None
    best: float
    watched: int


def choose(world: World, arrival: Arrival, movies: list[int], watched: set[int]) -> Choice:
    """Choose for a visit, among recommended movies (by number) and own discoveries.

    The discoveries and how movies look are the visit's own: they are the same whatever is
    recommended, so that the two choices differ by the recommendation alone.
    """
    worth = world.utilities(arrival.user_id, arrival.time)
    draws = arrival.chance.random(DISCOVERIES)
    looks = arrival.chance.gumbel(0, _MISJUDGED, DISCOVERIES + _LONGEST_LIST)
    found = [movie for movie in world.found(draws, arrival.time) if movie not in watched]
    listed = [movie for movie in movies[:_LONGEST_LIST] if movie not in watched]
    seen = dict(zip(listed, looks[DISCOVERIES:].tolist(), strict=False))
    seen |= dict(zip(found, looks.tolist(), strict=False))

    def pick(choices: list[int]) -> int | None:
        return max(choices, key=lambda movie: worth[movie] + seen[movie], default=None)

    def value(movie: int | None) -> float:
        return 0.0 if movie is None else float(worth[movie])

    chosen, helped = pick(list(seen)), pick(listed)
    new = worth.copy()
    # Answers that came out of order may have led to a movie that is not there yet.
    new[[movie for movie in watched if movie < len(new)]] = -np.inf
    return Choice(
        chosen,
        value(chosen),
        value(pick(found)),
        None if helped is None else value(helped),
        float(worth[listed].mean()) if listed else None,
        float(new.max()),
        len(watched),
    )
