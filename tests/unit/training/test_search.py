from collections.abc import Mapping

import pytest

from app.training.params import Params
from app.training.tuning.search import LADDERS, Budget, Search, get, put

NAMES = ["als.alpha", "ease.regularization", "blend.ease"]
PEAK = {"als.alpha": 5.0, "ease.regularization": 500.0, "blend.ease": 0.2}


def hill(params: Params) -> tuple[float, Mapping[str, float]]:
    """Highest where every parameter is on its peak."""
    rungs = {name: [*LADDERS[name]] for name in NAMES}
    away = sum(abs(rungs[n].index(get(params, n)) - rungs[n].index(PEAK[n])) for n in NAMES)
    return -float(away), {"random": -float(away)}


@pytest.mark.parametrize("seed", range(5))
def test_it_climbs_to_the_top_of_a_hill(seed: int) -> None:
    best = Search(hill, Budget(200), seed).run(Params(), NAMES)
    assert {name: get(best.params, name) for name in NAMES} == PEAK


def test_the_same_seed_tries_the_same_settings() -> None:
    def tried(seed: int) -> list[Params]:
        search = Search(hill, Budget(15), seed)
        search.run(Params(), NAMES)
        return [trial.params for trial in search.trials]

    assert tried(1) == tried(1) != tried(2)


def test_no_setting_is_tried_twice_and_the_budget_holds() -> None:
    search = Search(hill, Budget(9), 0)
    search.run(Params(), NAMES)
    assert len({trial.params for trial in search.trials}) == len(search.trials) == 9


def test_a_search_ends_where_nothing_gets_better() -> None:
    search = Search(lambda _: (1.0, {}), Budget(10_000), 0)
    start = Params()
    assert search.run(start, NAMES).params == start
    assert len(search.trials) == 1 + 2 * len(NAMES)


def test_a_value_between_the_rungs_moves_to_its_neighbours() -> None:
    start = put(Params(), "als.alpha", 4.0)
    search = Search(lambda _: (1.0, {}), Budget(10), 0)
    search.run(start, ["als.alpha"])
    assert [get(trial.params, "als.alpha") for trial in search.trials] == [4, 5, 3]


def test_a_whole_number_stays_one() -> None:
    changed = put(Params(), "als.factors", 96.0)
    assert changed.als.factors == 96
    assert isinstance(changed.als.factors, int)


def test_a_budget_of_seconds_is_spent_by_the_clock() -> None:
    budget = Budget.parse("600s")
    assert (budget.trials, budget.seconds) == (None, 600)
    budget.begun -= 300
    assert budget.share() == pytest.approx(0.5, abs=0.01)


@pytest.mark.parametrize("text", ["", "0", "-1", "s", "5m", "1.5", "0s"])
def test_a_budget_that_means_nothing_is_refused(text: str) -> None:
    with pytest.raises(ValueError, match="trials"):
        Budget.parse(text)


def test_every_ladder_holds_values_that_the_parameters_allow() -> None:
    for name, ladder in LADDERS.items():
        for value in ladder:
            found = put(Params(), name, value)
            assert Params.model_validate(found.model_dump()) == found
