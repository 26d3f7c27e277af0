"""`marquee tune`: search the parameters, write the parameter file and a page."""

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from optuna.storages import BaseStorage, InMemoryStorage

from app.atomic_files import write_file
from app.ingest.time_limits import TimeLimits
from app.training.errors import TrainingError
from app.training.interactions import Interactions
from app.training.load import load_interactions
from app.training.params import Params, get_param, read_params, update_params_file
from app.training.stages import Stages
from app.training.tuning.replay_evaluator import ReplayEvaluator
from app.training.tuning.report import Report, render_report
from app.training.tuning.search import (
    RECENT_SPACE,
    SPACE,
    Budget,
    Distribution,
    Search,
    Trial,
    open_storage,
)
from app.training.tuning.split_evaluator import ModelCache, SplitEvaluator
from app.training.tuning.splits import Split, validation_splits


@dataclass(frozen=True)
class Phase:
    """A part of the search.

    Attributes:
        name: name of the phase.
        sections: sections of the parameters that are searched; all others stay.
        until: share of the budget that is spent at its end.
    """

    name: str
    sections: tuple[str, ...]
    until: float


#: The first phase and the last one need no model to be fitted: a trial takes a tenth of a second
#: where one of ALS or EASE takes half a minute (MovieLens, 100,000 ratings, two cores).
PHASES = (
    Phase("blend", ("blend", "popularity"), 0.5),
    Phase("recency", ("recency", "transitions"), 0.7),
    Phase("als", ("als",), 0.85),
    Phase("ease", ("ease",), 0.9),
    Phase("confidence", ("confidence",), 0.93),
    Phase("blend_again", ("blend", "popularity"), 1.0),
)


#: A replay searches how recent events count; the models are fitted once.
REPLAY_PHASES = (Phase("recent", ("recent",), 1.0),)


@dataclass(frozen=True)
class Tuned:
    """Result of a search.

    Attributes:
        start: the parameters at the start.
        phases: the best trial of each phase, by name, in order.
    """

    start: Trial
    phases: dict[str, Trial]

    @property
    def best(self) -> Trial:
        """The best trial of all."""
        return max([self.start, *self.phases.values()], key=lambda trial: trial.score)


@dataclass(frozen=True)
class TuningJob:
    """The input and output of `marquee tune`.

    Attributes:
        ratings: table of ratings, or None.
        watches: table of watches, or None.
        movies: table of movie lengths, or None.
        scale: lowest and highest rating.
        params: parameter file to begin with.
        out: parameter file to be written.
        report: page to be written, or None.
        study: journal file of the search, or None.
        fixed: dotted names of parameters that are not searched.
        command: the command, for the page.
        times: limits of the possible times; None: the default limits.
        replay: search how recent events count, by a replay.
    """

    ratings: Path | None
    watches: Path | None
    movies: Path | None
    scale: tuple[float, float]
    params: Path
    out: Path
    report: Path | None
    study: Path | None
    fixed: tuple[str, ...]
    command: str
    times: TimeLimits | None = None
    replay: bool = False

    @property
    def space(self) -> dict[str, Distribution]:
        """Ranges of the parameters that are searched."""
        return RECENT_SPACE if self.replay else SPACE


def run_tuning(job: TuningJob, budget: Budget, seed: int | None) -> dict[str, Any]:
    """Search, write the results, and return the summary that `marquee tune --json` prints.

    Raises:
        IngestError: a table is missing or not valid.
        TrainingError: too few events to hold any out, an unknown parameter in `fixed`, or a
            journal of another search.
    """
    if unknown := sorted(set(job.fixed) - set(job.space)):
        raise TrainingError(f"{unknown[0]} is not searched; searched are {', '.join(job.space)}")
    start = read_params(job.params)
    seed = start.seed if seed is None else seed
    with Stages() as stages:
        with stages.stage("read"):
            events = load_interactions(job.ratings, job.watches, job.scale, job.movies, job.times)
        with stages.stage("split"):
            make = _prepare_search(job, events, start, seed)
        identity = _identify(job, events, start, seed)
        with (
            open_storage(job.study, identity) as storage,
            stages.stage("search", budget.trials) as advance,
        ):
            search = make(budget, storage, advance)
            phases = REPLAY_PHASES if job.replay else PHASES
            tuned = tune(search, start, job.fixed, phases, job.space)
    update_params_file(job.params, job.out, tuned.best.params, tuple(job.space))
    if job.report is not None:
        report = Report(
            start=tuned.start,
            phases=tuned.phases,
            trials=budget.used,
            data=events.describe(),
            command=job.command,
            seed=seed,
            fixed=job.fixed,
            space=job.space,
        )
        job.report.parent.mkdir(parents=True, exist_ok=True)
        write_file(job.report, render_report(report).encode())
    return _summarize(tuned, job, budget, seed, stages.seconds["search"])


def _prepare_search(
    job: TuningJob, events: Interactions, start: Params, seed: int
) -> Callable[[Budget, BaseStorage, Callable[[int], None]], Search]:
    """Hold events out, and return a function that makes the search.

    Raises:
        TrainingError: too few events, or too few with a time, to hold any out.
    """
    if job.replay:
        replayed = ReplayEvaluator(events, start, job.scale, seed)
        if not replayed.is_possible:
            raise TrainingError("too few events with a time to replay any")
        return lambda budget, storage, advance: Search(
            replayed.evaluate, storage, budget, seed, advance=advance
        )
    splits = validation_splits(events, seed)
    if not splits:
        raise TrainingError("too few events to hold any out")
    evaluators = make_evaluators(splits, job.scale)
    return lambda budget, storage, advance: make_search(evaluators, budget, seed, storage, advance)


def make_evaluators(splits: Sequence[Split], scale: tuple[float, float]) -> list[SplitEvaluator]:
    """Return an evaluator for each split."""
    return [SplitEvaluator(split, ModelCache(split.train, scale)) for split in splits]


def make_search(
    evaluators: Sequence[SplitEvaluator],
    budget: Budget,
    seed: int,
    storage: BaseStorage | None = None,
    advance: Callable[[int], None] = lambda _: None,
) -> Search:
    """Return a search whose score is the mean nDCG over the splits."""

    def evaluate(params: Params) -> Iterator[tuple[str, float]]:
        for evaluator in evaluators:
            yield evaluator.split.name, evaluator.evaluate(params)["ndcg"]

    def evict(params: Params) -> None:
        for evaluator in evaluators:
            evaluator.evict(params)

    return Search(evaluate, storage or InMemoryStorage(), budget, seed, evict, advance)


def tune(
    search: Search,
    start: Params,
    fixed: Sequence[str] = (),
    phases: Sequence[Phase] = PHASES,
    space: Mapping[str, Distribution] = SPACE,
) -> Tuned:
    """Run the phases of the search one after the other, each from the best of those before.

    Args:
        search: the search, with its budget.
        start: parameters to begin with.
        fixed: dotted names of parameters that are not searched. One that is `auto` is not
            searched: it is found from the data whenever a model is trained.
        phases: the phases.
        space: ranges of the parameters that are searched.
    """
    first = best = search.run("start", start, [], 0)
    found: dict[str, Trial] = {}
    for phase in phases:
        names = [
            name
            for name in space
            if name.split(".")[0] in phase.sections
            and name not in fixed
            and get_param(start, name) != "auto"
        ]
        best = search.run(phase.name, best.params, names, phase.until, space)
        found[phase.name] = best
    return Tuned(first, found)


def _identify(job: TuningJob, events: Interactions, start: Params, seed: int) -> dict[str, Any]:
    return {
        "data": events.describe()["data_hash"],
        "parameters": start.model_dump(mode="json"),
        "fixed parameters": list(job.fixed),
        "rating scale": list(job.scale),
        "seed": seed,
        "replay": job.replay,
    }


def _summarize(
    tuned: Tuned, job: TuningJob, budget: Budget, seed: int, seconds: float
) -> dict[str, Any]:
    before, after = tuned.start.params, tuned.best.params
    return {
        "params": str(job.out),
        "trials": budget.used,
        "seed": seed,
        "seconds": seconds,
        "score": {"before": tuned.start.score, "after": tuned.best.score},
        "ndcg": dict(tuned.best.scores),
        "changed": {
            name: [get_param(before, name), get_param(after, name)]
            for name in job.space
            if get_param(before, name) != get_param(after, name)
        },
        "parameters": after.model_dump(mode="json"),
    }
