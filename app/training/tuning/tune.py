"""The whole search: each ranking model alone, then the blend, on every validation split."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from app.training.params import BlendParams, Params
from app.training.tuning.search import LADDERS, Budget, Search, Trial, get
from app.training.tuning.validation import Rehearsal

#: Shares of the budget spent by the end of each phase.
UNTIL = {"als": 0.3, "ease": 0.4, "blend": 1.0}
#: What changes no fit.
_CHEAP = ("blend.", "popularity.")


@dataclass(frozen=True)
class Found:
    """What a search found.

    Attributes:
        start: how the parameters did that it began with.
        als: the best setting of ALS alone.
        ease: the best setting of EASE alone.
        best: the best setting of all.
        trials: every setting tried, in order.
    """

    start: Trial
    als: Trial
    ease: Trial
    best: Trial
    trials: list[Trial]


def tune(
    rehearsals: Sequence[Rehearsal],
    start: Params,
    budget: Budget,
    seed: int,
    advance: Callable[[], None] = lambda: None,
    fixed: Sequence[str] = (),
) -> Found:
    """Search for the parameters with the highest mean nDCG over all splits.

    Args:
        rehearsals: one for each split.
        start: where to begin.
        budget: what all phases together may spend.
        seed: of the order in which parameters are tried.
        advance: called after each trial.
        fixed: dotted names of parameters to be left as they are. One that is `auto` stays so: the
            data decide it whenever a model is fitted.
    """
    fixed = [*fixed, *(name for name in LADDERS if get(start, name) == "auto")]

    def keep(params: Params) -> None:
        for rehearsal in rehearsals:
            rehearsal.keep(params)

    def free(*prefixes: str) -> list[str]:
        return [name for name in LADDERS if name.startswith(prefixes) and name not in fixed]

    search = Search(
        lambda params: mean_ndcg(rehearsals, params),
        budget,
        seed,
        keep=keep,
        advance=advance,
    )
    begun = search.run(start, [], 0)
    als = search.run(alone(start, "als"), free("als.", "events."), UNTIL["als"])
    ease = search.run(alone(als.params, "ease"), free("ease.", "events."), UNTIL["ease"])
    merged = start.model_copy(update={"als": als.params.als, "ease": ease.params.ease})
    # The weights first: they cost nothing, and the models' own settings depend on them.
    best = search.run(merged, free(*_CHEAP), UNTIL["blend"])
    best = search.run(best.params, free(""), UNTIL["blend"])
    return Found(begun, als, ease, max(begun, best, key=lambda t: t.score), search.trials)


def alone(params: Params, part: str) -> Params:
    """These parameters with one scorer only, and nothing that fades."""
    weights = {**dict.fromkeys(BlendParams.model_fields, 0.0), part: 1.0}
    recency = params.recency.model_copy(update={"ease": 0.0})
    return params.model_copy(update={"blend": BlendParams(**weights), "recency": recency})


def mean_ndcg(rehearsals: Sequence[Rehearsal], params: Params) -> tuple[float, Mapping[str, float]]:
    """The mean over all splits, and the nDCG of each."""
    figures = {r.split.name: r.figures(params)["ndcg"] for r in rehearsals}
    return float(np.mean(list(figures.values()))), figures
