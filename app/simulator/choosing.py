"""What a user watches next: the best, as they see it, of what is recommended and what they find."""

from dataclasses import dataclass

import numpy as np

from app.simulator.arrivals import Arrival
from app.simulator.world import World

#: Films a user would come across without any help.
DISCOVERIES = 8
#: How far a film looks better or worse than it is (Gumbel's scale).
_MISJUDGED = 0.3
_LONGEST_LIST = 50


@dataclass(frozen=True)
class Choice:
    """What one visit led to; utilities are true ones.

    Attributes:
        film: what the user watches, None when there is nothing new.
        worth: its utility.
        unaided: of the film the user would have chosen from their own discoveries.
        recommended: of the film the user would choose from the recommended ones alone.
        listed: of all recommended films that are new to the user, on average.
        best: of the best film there is that is new to the user.
        watched: how many films the user had watched before.
    """

    film: int | None
    worth: float
    unaided: float
    recommended: float | None
    listed: float | None
    best: float
    watched: int


def choose(world: World, arrival: Arrival, films: list[int], watched: set[int]) -> Choice:
    """Choose for a visit, among recommended films (by number) and own discoveries.

    The discoveries and how films look are the visit's own: they are the same whatever is
    recommended, so that the two choices differ by the recommendation alone.
    """
    worth = world.utilities(arrival.user_id, arrival.time)
    draws = arrival.chance.random(DISCOVERIES)
    looks = arrival.chance.gumbel(0, _MISJUDGED, DISCOVERIES + _LONGEST_LIST)
    found = [film for film in world.found(draws, arrival.time) if film not in watched]
    listed = [film for film in films[:_LONGEST_LIST] if film not in watched]
    seen = dict(zip(listed, looks[DISCOVERIES:].tolist(), strict=False))
    seen |= dict(zip(found, looks.tolist(), strict=False))

    def pick(choices: list[int]) -> int | None:
        return max(choices, key=lambda film: worth[film] + seen[film], default=None)

    def value(film: int | None) -> float:
        return 0.0 if film is None else float(worth[film])

    chosen, helped = pick(list(seen)), pick(listed)
    new = worth.copy()
    # Answers that came out of order may have led to a film that is not there yet.
    new[[film for film in watched if film < len(new)]] = -np.inf
    return Choice(
        chosen,
        value(chosen),
        value(pick(found)),
        None if helped is None else value(helped),
        float(worth[listed].mean()) if listed else None,
        float(new.max()),
        len(watched),
    )
