from itertools import islice

from app.simulator.arrivals import ArrivalSettings, generate_arrivals
from app.simulator.choice_model import choose_movie
from tests.support.simulator import make_environment

ENVIRONMENT = make_environment()
VALID_ONLY = ArrivalSettings(invalid=0)


def test_recommending_the_best_movies_gains_utility_over_organic_choices() -> None:
    gains = []
    for arrival in islice(generate_arrivals(ENVIRONMENT, VALID_ONLY), 300):
        utilities = ENVIRONMENT.utilities(arrival.user_id, arrival.time)
        best = utilities.argsort()[::-1][:20].tolist()
        choice = choose_movie(ENVIRONMENT, arrival, best, set())
        assert choice.recommended is not None
        assert choice.organic <= choice.best
        gains.append(choice.recommended - choice.organic)
    assert sum(gains) / len(gains) > 1


def test_the_organic_choice_does_not_depend_on_the_recommendations() -> None:
    for with_list, without in zip(
        islice(generate_arrivals(ENVIRONMENT, VALID_ONLY), 50),
        islice(generate_arrivals(ENVIRONMENT, VALID_ONLY), 50),
        strict=True,
    ):
        helped = choose_movie(ENVIRONMENT, with_list, list(range(20)), set())
        alone = choose_movie(ENVIRONMENT, without, [], set())
        assert helped.organic == alone.organic == alone.chosen
        assert alone.recommended is None


def test_a_watched_movie_is_not_chosen_again() -> None:
    arrival = next(generate_arrivals(ENVIRONMENT, VALID_ONLY))
    best = int(ENVIRONMENT.utilities(arrival.user_id, arrival.time).argmax())
    choice = choose_movie(ENVIRONMENT, arrival, [best], {best})
    assert choice.movie != best
    assert choice.recommended is None
