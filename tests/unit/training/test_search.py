from collections.abc import Iterator
from math import log
from pathlib import Path

import optuna
import pytest

from app.locks import LockHeldError
from app.training.errors import TrainingError
from app.training.params import Params, get_param, replace_params
from app.training.tuning.search import SPACE, Budget, Search, Trial, open_storage
from tests.support.params import make_params

START = make_params(als={"alpha": 2}, ease={"regularization": 150}, blend={"ease": 0.6})
NAMES = ["als.alpha", "ease.regularization", "blend.ease"]
PEAK = {"als.alpha": 5.0, "ease.regularization": 500.0, "blend.ease": 0.2}


def hill(params: Params) -> Iterator[tuple[str, float]]:
    """Two splits whose scores are 0 at the peak, and lower the farther away."""
    distance = sum(log((get_param(params, n) + 0.01) / (PEAK[n] + 0.01)) ** 2 for n in NAMES)
    yield "random", -distance
    yield "cold_start", -2 * distance


class Recorder:
    """A hill that records the parameters that are evaluated; stops after some of them."""

    def __init__(self, stop_after: int = 10_000) -> None:
        self.evaluated: list[Params] = []
        self._stop_after = stop_after

    def __call__(self, params: Params) -> Iterator[tuple[str, float]]:
        if len(self.evaluated) == self._stop_after:
            raise KeyboardInterrupt
        self.evaluated.append(params)
        return hill(params)


def run(recorder: Recorder, trials: int, seed: int = 0, path: Path | None = None) -> Trial:
    with open_storage(path, {"seed": seed}) as storage:
        search = Search(recorder, storage, Budget(trials), seed)
        search.run("first", START, NAMES[:1], 0.4)
        return search.run("second", START, NAMES)


@pytest.mark.parametrize("seed", range(3))
def test_it_climbs_a_hill(seed: int) -> None:
    search = Search(hill, optuna.storages.InMemoryStorage(), Budget(120), seed)
    start = search.run("start", START, [], 0)
    best = search.run("second", START, NAMES)
    assert best.score > 0.1 * start.score  # scores are negative
    assert set(best.scores) == {"random", "cold_start"}
    assert best.score == pytest.approx(sum(best.scores.values()) / 2)


def test_the_first_trial_is_the_start_even_beyond_the_ranges() -> None:
    recorder = Recorder()
    start = replace_params(START, {"als.factors": 300, "blend.svd": 0.9})
    search = Search(recorder, optuna.storages.InMemoryStorage(), Budget(3), 0)
    search.run("all", start, [*list(SPACE)[:3], "blend.svd"])
    assert recorder.evaluated[0] == start


def test_a_phase_without_parameters_evaluates_the_start_once() -> None:
    recorder = Recorder()
    search = Search(recorder, optuna.storages.InMemoryStorage(), Budget(100), 0)
    assert search.run("start", START, []).params == START
    assert recorder.evaluated == [START]


def test_the_same_seed_evaluates_the_same_parameters() -> None:
    same, again, other = Recorder(), Recorder(), Recorder()
    run(same, 15, seed=1)
    run(again, 15, seed=1)
    run(other, 15, seed=2)
    assert same.evaluated == again.evaluated
    assert same.evaluated != other.evaluated
    assert len(same.evaluated) == 15


@pytest.mark.parametrize("stop_after", [0, 3, 9])
def test_an_interrupted_search_continues_where_it_stopped(tmp_path: Path, stop_after: int) -> None:
    whole, first, second = Recorder(), Recorder(stop_after), Recorder()
    expected = run(whole, 15)
    with pytest.raises(KeyboardInterrupt):
        run(first, 15, path=tmp_path / "journal")
    assert run(second, 15, path=tmp_path / "journal") == expected
    assert first.evaluated + second.evaluated == whole.evaluated


def test_a_finished_search_returns_its_result_again(tmp_path: Path) -> None:
    expected = run(Recorder(), 12, path=tmp_path / "journal")
    again = Recorder()
    assert run(again, 12, path=tmp_path / "journal") == expected
    assert again.evaluated == []


def test_the_journal_of_another_search_is_an_error(tmp_path: Path) -> None:
    for _ in range(2):
        with open_storage(tmp_path / "journal", {"data": "a", "seed": 1}):
            pass
    with (
        pytest.raises(TrainingError, match="other data"),
        open_storage(tmp_path / "journal", {"data": "b", "seed": 1}),
    ):
        pass


def test_a_journal_in_use_is_an_error(tmp_path: Path) -> None:
    with (
        open_storage(tmp_path / "journal", {}),
        pytest.raises(LockHeldError, match="held by process"),
        open_storage(tmp_path / "journal", {}),
    ):
        pass


def test_a_trial_with_a_low_first_score_is_pruned() -> None:
    evaluations: list[str] = []

    def record(params: Params) -> Iterator[tuple[str, float]]:
        for split, score in hill(params):
            evaluations.append(split)
            yield split, score

    Search(record, optuna.storages.InMemoryStorage(), Budget(40), 0).run("all", START, NAMES)
    assert evaluations.count("random") == 40
    assert evaluations.count("cold_start") < 30


def test_values_have_two_significant_digits() -> None:
    recorder = Recorder()
    run(recorder, 20)
    values = [get_param(params, name) for params in recorder.evaluated for name in NAMES]
    assert all(value == float(f"{value:.2g}") for value in values)


def test_a_budget_of_seconds_is_spent_by_the_clock() -> None:
    budget = Budget.parse("600s")
    assert (budget.trials, budget.seconds) == (None, 600)
    budget.start -= 300
    assert budget.spent() == pytest.approx(0.5, abs=0.01)


@pytest.mark.parametrize("text", ["", "0", "-1", "s", "5m", "1.5", "0s"])
def test_an_invalid_budget_is_an_error(text: str) -> None:
    with pytest.raises(ValueError, match="trials"):
        Budget.parse(text)


def test_both_ends_of_every_range_are_valid_parameters() -> None:
    for name, range_ in SPACE.items():
        for value in (range_.low, range_.high):
            assert get_param(replace_params(START, {name: value}), name) == value
