"""Coordinate search: one parameter after the other goes up or down its ladder while that pays."""

import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from app.training.params import Params

#: A step has to be better by so much.
STEP = 3e-4

LADDERS: dict[str, tuple[float, ...]] = {
    "als.factors": (16, 32, 48, 64, 96, 128),
    "als.regularization": (0.01, 0.02, 0.05, 0.1, 0.15, 0.2, 0.3, 0.5, 1),
    "als.alpha": (0.25, 0.5, 1, 2, 3, 5, 8, 12),
    "ease.regularization": (25, 50, 100, 150, 200, 300, 500, 800, 1200),
    "events.lowest_rating": (0, 0.1, 0.25, 0.5, 0.75, 1),
    "recency.half_life_events": (2, 3, 5, 10, 20, 40, 80, 300, 10000),
    "recency.ease": (0, 0.2, 0.4, 0.6, 0.8, 1),
    "neighbours.window": (1, 2, 3, 5, 8, 12),
    "neighbours.damping": (1, 2, 5, 10, 20),
    "popularity.half_life_days": (7, 15, 30, 60, 120, 250, 500, 1000, 2000, 5000, 10000),
    "blend.ease": (0, 0.1, 0.2, 0.4, 0.6, 0.8, 1, 1.3, 1.6, 2, 3),
    "blend.neighbours": (0, 0.05, 0.1, 0.2, 0.3, 0.4, 0.6, 0.8, 1),
    "blend.popularity": (0, 0.01, 0.02, 0.03, 0.05, 0.1, 0.15, 0.2, 0.3, 0.5),
    "blend.newcomer": (0, 0.3, 0.6, 1, 1.5, 2, 3, 4, 6, 10),
    "blend.svd": (0, 0.02, 0.05, 0.1, 0.15, 0.2),
}


@dataclass(frozen=True)
class Trial:
    """One setting and how it did.

    Attributes:
        changed: the parameter that was tried, empty for the start.
        params: all parameters.
        score: what is made as large as possible.
        figures: what stands behind the score.
    """

    changed: str
    params: Params
    score: float
    figures: Mapping[str, float]


@dataclass
class Budget:
    """How much a search may spend: a number of trials, or seconds."""

    trials: int | None = None
    seconds: float | None = None
    used: int = 0
    begun: float = field(default_factory=time.monotonic)

    @classmethod
    def parse(cls, text: str) -> "Budget":
        """The budget that `200` (trials) or `600s` (seconds) means.

        Raises:
            ValueError: it means neither.
        """
        number = text.removesuffix("s")
        if not (number.isascii() and number.isdigit() and int(number) > 0):
            raise ValueError(f"neither a number of trials nor of seconds (600s): {text!r}")
        return cls(seconds=int(number)) if text.endswith("s") else cls(trials=int(number))

    def share(self) -> float:
        """How much of it is spent; 1 and more is all."""
        if self.trials is not None:
            return self.used / self.trials
        if self.seconds is not None:
            return (time.monotonic() - self.begun) / self.seconds
        return 0.0


Evaluate = Callable[[Params], tuple[float, Mapping[str, float]]]


class Search:
    """Tries settings one at a time and remembers them.

    Args:
        evaluate: gives the score of a setting and the figures behind it.
        keep: told the best setting whenever the others can be forgotten.
        budget: what all runs together may spend.
        seed: of the order in which parameters are tried.
        advance: called after each trial.
    """

    def __init__(
        self,
        evaluate: Evaluate,
        budget: Budget,
        seed: int,
        keep: Callable[[Params], None] = lambda _: None,
        advance: Callable[[], None] = lambda: None,
    ) -> None:
        self.trials: list[Trial] = []
        self._evaluate, self._keep, self._advance = evaluate, keep, advance
        self._budget = budget
        self._random = np.random.default_rng(seed)
        self._done: dict[Params, Trial] = {}

    def run(
        self,
        start: Params,
        names: Sequence[str],
        until: float = 1.0,
        ladders: Mapping[str, tuple[float, ...]] = LADDERS,
    ) -> Trial:
        """The best setting found from `start` by moving `names`, till this share is spent."""
        best = self._try(start, "")
        while self._budget.share() < until:
            before = best
            for name in self._random.permutation(names).tolist():
                best = self._climb(best, name, sorted({*ladders[name]}), until)
                self._keep(best.params)
            if best is before:
                break
        return best

    def _climb(self, best: Trial, name: str, ladder: list[float], until: float) -> Trial:
        for direction in (1, -1):
            moved = False
            while self._budget.share() < until:
                value = _next(ladder, get(best.params, name), direction)
                if value is None:
                    break
                trial = self._try(put(best.params, name, value), name)
                if trial.score < best.score + STEP:
                    break
                best, moved = trial, True
            if moved:
                break
        return best

    def _try(self, params: Params, changed: str) -> Trial:
        if params not in self._done:
            score, figures = self._evaluate(params)
            self._done[params] = Trial(changed, params, score, figures)
            self.trials.append(self._done[params])
            self._budget.used += 1
            self._advance()
        return self._done[params]


def get(params: Params, name: str) -> Any:
    """A parameter by its dotted name: a number, or `auto`."""
    section, key = name.split(".")
    return getattr(getattr(params, section), key)


def put(params: Params, name: str, value: float) -> Params:
    """The parameters with one of them changed; a whole number stays one."""
    section, key = name.split(".")
    old: Any = getattr(params, section)
    kind = int if isinstance(getattr(old, key), int) else float
    new = old.model_copy(update={key: kind(value)})
    return params.model_copy(update={section: new})


def _next(ladder: list[float], value: float, direction: int) -> float | None:
    """The next rung above or below a value that need not be on the ladder."""
    rungs = [r for r in ladder if (r - value) * direction > 0]
    if not rungs:
        return None
    return min(rungs) if direction > 0 else max(rungs)
