"""Which movie a user watches: the best-looking of those recommended and those they discover."""

from dataclasses import dataclass

import numpy as np

from app.simulator.arrivals import Arrival
from app.simulator.environment import Environment

#: Movies that a user discovers without recommendations at each visit.
DISCOVERIES = 8
#: Scale of the Gumbel noise between a movie's true utility and how it looks to the user.
_NOISE_SCALE = 0.3
_MAX_LIST_LENGTH = 50


@dataclass(frozen=True)
class Choice:
    """The result of one visit. All values but `movie` and `n_watched` are true utilities.

    Attributes:
        movie: index of the movie that the user watches; None when there is no new one.
        chosen: utility of that movie.
        organic: of the movie the user would choose from their own discoveries alone.
        recommended: of the movie the user would choose from the recommendations alone.
        listed: mean over all recommended movies that are new to the user.
        best: of the best movie that is new to the user.
        n_watched: movies the user had watched before.
    """

    movie: int | None
    chosen: float
    organic: float
    recommended: float | None
    listed: float | None
    best: float
    n_watched: int


def choose_movie(
    environment: Environment, arrival: Arrival, recommended: list[int], watched: set[int]
) -> Choice:
    """Choose among recommended movies and organic discoveries.

    Discoveries and noise are drawn from the arrival's own generator: they are the same whatever
    is recommended, so that `recommended` and `organic` differ by the recommendation alone.

    Args:
        environment: where utilities come from.
        arrival: whose visit it is, and when.
        recommended: movie indices, best first; at most 50 are considered.
        watched: movie indices that are not chosen again.
    """
    utilities = environment.utilities(arrival.user_id, arrival.time)
    draws = arrival.rng.random(DISCOVERIES)
    noise = arrival.rng.gumbel(0, _NOISE_SCALE, DISCOVERIES + _MAX_LIST_LENGTH)
    discovered = [m for m in environment.discover(draws, arrival.time) if m not in watched]
    listed = [m for m in recommended[:_MAX_LIST_LENGTH] if m not in watched]
    noise_of = dict(zip(listed, noise[DISCOVERIES:].tolist(), strict=False))
    noise_of |= dict(zip(discovered, noise.tolist(), strict=False))

    def pick(candidates: list[int]) -> int | None:
        return max(candidates, key=lambda movie: utilities[movie] + noise_of[movie], default=None)

    def utility(movie: int | None) -> float:
        return 0.0 if movie is None else float(utilities[movie])

    chosen, from_list = pick(list(noise_of)), pick(listed)
    unwatched = utilities.copy()
    # Responses in another order than requests may have led to a movie that is not out yet.
    unwatched[[movie for movie in watched if movie < len(unwatched)]] = -np.inf
    return Choice(
        chosen,
        utility(chosen),
        utility(pick(discovered)),
        None if from_list is None else utility(from_list),
        float(utilities[listed].mean()) if listed else None,
        float(unwatched.max()),
        len(watched),
    )
