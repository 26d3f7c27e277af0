"""Parameter search with Optuna: seeded, and resumable from a journal file."""

import time
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import optuna
from optuna.distributions import FloatDistribution, IntDistribution
from optuna.storages import BaseStorage, InMemoryStorage, JournalStorage
from optuna.storages.journal import JournalFileBackend, JournalFileSymlinkLock
from optuna.trial import FrozenTrial, TrialState

from app.locks import exclusive_lock
from app.training.errors import TrainingError
from app.training.params import Params, get_param, replace_params

Distribution = FloatDistribution | IntDistribution
#: Computes the score of parameters on one split after the other: yields its name and the score.
Evaluate = Callable[[Params], Iterable[tuple[str, float]]]

#: Ranges of the parameters that are searched.
SPACE: dict[str, Distribution] = {
    "als.factors": IntDistribution(16, 128, log=True),
    "als.regularization": FloatDistribution(0.01, 1, log=True),
    "als.alpha": FloatDistribution(0.25, 12, log=True),
    "ease.regularization": FloatDistribution(25, 1200, log=True),
    "confidence.lowest_rating": FloatDistribution(0, 1),
    "recency.half_life_events": FloatDistribution(2, 1000, log=True),
    "recency.ease_share": FloatDistribution(0, 1),
    "transitions.window": IntDistribution(1, 12),
    "transitions.damping": FloatDistribution(1, 20, log=True),
    "popularity.half_life_days": FloatDistribution(7, 10_000, log=True),
    "blend.ease": FloatDistribution(0, 3),
    "blend.transitions": FloatDistribution(0, 1),
    "blend.popularity": FloatDistribution(0, 0.5),
    "blend.cold_start": FloatDistribution(0, 10),
    "blend.svd": FloatDistribution(0, 0.2),
}
#: Ranges of the parameters that a replay searches.
RECENT_SPACE: dict[str, Distribution] = {
    "recent.ease_share": FloatDistribution(0, 1),
    "recent.half_life_movies": FloatDistribution(1, 60, log=True),
    "recent.half_life_hours": FloatDistribution(1, 500, log=True),
    "recent.lowest_weight": FloatDistribution(0, 1),
    "recent.list": FloatDistribution(0.01, 3, log=True),
    "recent.list_few": FloatDistribution(0.01, 5, log=True),
    "recent.popularity": FloatDistribution(0.003, 1, log=True),
    "recent.popularity_few": FloatDistribution(0.01, 20, log=True),
}
#: Maximum number of trials in a phase; more of them hardly improve the result.
MAX_TRIALS = 100
_FINISHED = (TrialState.COMPLETE, TrialState.PRUNED)


@dataclass(frozen=True)
class Trial:
    """Parameters and their score.

    Attributes:
        params: all parameters.
        score: mean nDCG over the splits.
        scores: nDCG by split.
    """

    params: Params
    score: float
    scores: Mapping[str, float]


@dataclass
class Budget:
    """The size of a search: a number of trials, or seconds.

    Attributes:
        trials: maximum number of trials; None: `seconds` counts.
        seconds: maximum duration.
        used: finished trials, those of interrupted runs included.
        start: when the search began, on the monotonic clock.
    """

    trials: int | None = None
    seconds: float | None = None
    used: int = 0
    start: float = field(default_factory=time.monotonic)

    @classmethod
    def parse(cls, text: str) -> "Budget":
        """Parse `200` (trials) or `600s` (seconds).

        Raises:
            ValueError: neither.
        """
        number = text.removesuffix("s")
        if not (number.isascii() and number.isdigit() and int(number) > 0):
            raise ValueError(f"neither a number of trials nor of seconds (600s): {text!r}")
        return cls(seconds=int(number)) if text.endswith("s") else cls(trials=int(number))

    def spent(self) -> float:
        """Return the share that is spent; 1 or more is all of it."""
        if self.trials is not None:
            return self.used / self.trials
        if self.seconds is not None:
            return (time.monotonic() - self.start) / self.seconds
        return 0.0


@contextmanager
def open_storage(path: Path | None, identity: Mapping[str, Any]) -> Iterator[BaseStorage]:
    """Open the journal of a search, or memory where there is no path.

    Args:
        path: journal file, created when missing.
        identity: what the search depends on, beside its budget: data, start, seed, ….

    Raises:
        TrainingError: the journal belongs to another search, or the file is no journal.
        LockHeldError: another process uses it.
    """
    if path is None:
        yield InMemoryStorage()
        return
    path.parent.mkdir(parents=True, exist_ok=True)
    with exclusive_lock(path.with_name(f"{path.name}.lock")):
        try:
            storage = JournalStorage(JournalFileBackend(str(path), _LockedByCaller(str(path))))
            study = optuna.create_study(storage=storage, study_name="identity", load_if_exists=True)
        except (ValueError, TypeError, LookupError) as error:
            raise TrainingError(f"{path}: not the journal of a search") from error
        known = study.user_attrs.get("identity")
        if known is None:
            study.set_user_attr("identity", dict(identity))
        elif known != dict(identity):
            different = ", ".join(key for key in identity if known.get(key) != identity[key])
            raise TrainingError(f"{path}: the journal of another search: other {different}")
        yield storage


class _LockedByCaller(JournalFileSymlinkLock):
    """No lock for each write: Optuna's own would outlive a killed process for 30 s."""

    def acquire(self) -> bool:
        return True

    def release(self) -> None:
        pass


class Search:
    """Searches in phases: studies of Optuna's TPE sampler, each beginning at given parameters.

    A trial is pruned after the first splits when its score is low. The sampler of each trial is
    seeded by the number of finished ones, so an interrupted search finds what an uninterrupted one
    would.

    Args:
        evaluate: computes the score of parameters.
        storage: see `open_storage`.
        budget: budget of all phases together.
        seed: seed of the samplers.
        evict: called with the best parameters of the phase after each trial.
        advance: called with the number of trials that are finished.
    """

    def __init__(
        self,
        evaluate: Evaluate,
        storage: BaseStorage,
        budget: Budget,
        seed: int,
        evict: Callable[[Params], None] = lambda _: None,
        advance: Callable[[int], None] = lambda _: None,
    ) -> None:
        optuna.logging.set_verbosity(optuna.logging.WARNING)
        optuna.logging.disable_default_handler()  # the root logger has one
        optuna.logging.enable_propagation()
        self._evaluate, self._storage, self._seed = evaluate, storage, seed
        self._budget, self._evict, self._advance = budget, evict, advance

    def run(
        self,
        phase: str,
        start: Params,
        names: Sequence[str],
        until: float = 1.0,
        space: Mapping[str, Distribution] = SPACE,
    ) -> Trial:
        """Search from `start` over the parameters `names`; return the best trial.

        Args:
            phase: name of the study.
            start: parameters of the first trial.
            names: dotted names of the parameters that are searched.
            until: share of the budget that is spent at the end of this phase.
            space: range of each parameter.
        """
        ranges = {name: _include(space[name], get_param(start, name)) for name in names}
        study = self._open_study(phase)
        finished = len(study.get_trials(deepcopy=False, states=_FINISHED))
        self._count(finished)
        if finished == 0 and not study.get_trials(states=(TrialState.WAITING,)):
            study.enqueue_trial({name: get_param(start, name) for name in names})
        while finished == 0 or (names and finished < MAX_TRIALS and self._budget.spent() < until):
            study.sampler = _make_sampler(self._seed, phase, finished)
            study.optimize(lambda trial: self._run_trial(trial, start, ranges), n_trials=1)
            finished += 1
            self._count(1)
            self._evict(_to_trial(study.best_trial, start).params)
        return _to_trial(study.best_trial, start)

    def _open_study(self, phase: str) -> optuna.Study:
        study = optuna.create_study(
            storage=self._storage,
            study_name=phase,
            direction="maximize",
            load_if_exists=True,
            pruner=optuna.pruners.PercentilePruner(25, n_startup_trials=5, n_warmup_steps=0),
        )
        for trial in study.get_trials(states=(TrialState.RUNNING,)):
            study.tell(trial.number, state=TrialState.FAIL)  # left by an interrupted run
        return study

    def _run_trial(
        self, trial: optuna.Trial, start: Params, ranges: Mapping[str, Distribution]
    ) -> float:
        params = replace_params(start, {n: _suggest(trial, n, r) for n, r in ranges.items()})
        scores: dict[str, float] = {}
        for step, (split, score) in enumerate(self._evaluate(params)):
            scores[split] = score
            trial.report(float(np.mean(list(scores.values()))), step)
            if trial.should_prune():
                raise optuna.TrialPruned
        trial.set_user_attr("scores", scores)
        trial.set_user_attr("params", params.model_dump(mode="json"))
        return float(np.mean(list(scores.values())))

    def _count(self, trials: int) -> None:
        self._budget.used += trials
        self._advance(trials)


def _make_sampler(seed: int, phase: str, finished: int) -> optuna.samplers.TPESampler:
    state = np.random.SeedSequence([seed, finished, *phase.encode()]).generate_state(1)
    return optuna.samplers.TPESampler(seed=int(state[0]), multivariate=True, n_startup_trials=5)


def _include(range_: Distribution, value: float) -> Distribution:
    """Return the range, widened to include a value."""
    low, high = min(range_.low, value), max(range_.high, value)
    return type(range_)(low, high, log=range_.log)  # type: ignore[arg-type]


def _suggest(trial: optuna.Trial, name: str, range_: Distribution) -> float:
    """Return a value of two significant digits, as one would write it into a file."""
    if isinstance(range_, IntDistribution):
        return trial.suggest_int(name, range_.low, range_.high, log=range_.log)
    value = trial.suggest_float(name, range_.low, range_.high, log=range_.log)
    return float(f"{value:.2g}")


def _to_trial(trial: FrozenTrial, start: Params) -> Trial:
    assert trial.value is not None  # noqa: S101 - the best trial is complete
    params = start.model_validate(trial.user_attrs["params"])
    return Trial(params, trial.value, trial.user_attrs["scores"])
