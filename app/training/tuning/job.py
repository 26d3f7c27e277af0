"""`marquee tune` from end to end: tables in, a parameter file and a page out."""

from dataclasses import dataclass
from pathlib import Path
from typing import Any

from app.atomic_files import write_file
from app.training.errors import TrainingError
from app.training.load import read_events
from app.training.params import Params, read_params
from app.training.progress import Stages
from app.training.tuning.params_file import write_params
from app.training.tuning.report import report
from app.training.tuning.search import LADDERS, Budget
from app.training.tuning.splits import validation_splits
from app.training.tuning.tune import Found, tune
from app.training.tuning.validation import Rehearsal


@dataclass(frozen=True)
class TuneJob:
    """What to tune on, and where the result goes.

    Attributes:
        ratings: table of ratings, or None.
        watches: table of watches, or None.
        movies: table of movie lengths, or None.
        scale: lowest and highest rating.
        params: parameters to begin with, or None for the built-in ones.
        out: parameter file to be written.
        report: page to be written, or None.
        fixed: parameters to be left as they are.
        command: how the page says it was made.
    """

    ratings: Path | None
    watches: Path | None
    movies: Path | None
    scale: tuple[float, float]
    params: Path | None
    out: Path
    report: Path | None
    fixed: tuple[str, ...]
    command: str


def run(job: TuneJob, budget: Budget, seed: int | None) -> dict[str, Any]:
    """Search, write, and return the summary that `marquee tune --json` prints.

    Raises:
        IngestError: a table is missing or is none.
        TrainingError: too little data to hold anything out, or an unknown parameter to be fixed.
    """
    if unknown := sorted(set(job.fixed) - set(LADDERS)):
        raise TrainingError(f"{unknown[0]} is not searched; searched are {', '.join(LADDERS)}")
    start = Params() if job.params is None else read_params(job.params)
    template = "" if job.params is None else job.params.read_text(encoding="utf-8")
    seed = start.seed if seed is None else seed
    with Stages() as stages:
        with stages.stage("read"):
            events = read_events(job.ratings, job.watches, job.scale, job.movies)
            splits = validation_splits(events, seed)
        if not splits:
            raise TrainingError("too few events to hold any out")
        with stages.stage("search", budget.trials) as advance:
            rehearsals = [Rehearsal(split, job.scale) for split in splits]
            found = tune(rehearsals, start, budget, seed, lambda: advance(1), job.fixed)
    write_params(job.out, template, found.best.params, tuple(LADDERS))
    if job.report is not None:
        job.report.parent.mkdir(parents=True, exist_ok=True)
        page = report(found, events.describe(), job.command, seed, job.fixed)
        write_file(job.report, page.encode())
    return _summary(found, job, seed, stages.seconds["search"])


def _summary(found: Found, job: TuneJob, seed: int, seconds: float) -> dict[str, Any]:
    before, after = found.start.params, found.best.params
    return {
        "params": str(job.out),
        "trials": len(found.trials),
        "seed": seed,
        "seconds": seconds,
        "score": {"before": found.start.score, "after": found.best.score},
        "ndcg": dict(found.best.figures),
        "changed": _changes(before, after),
        "parameters": after.model_dump(mode="json"),
    }


def _changes(before: Params, after: Params) -> dict[str, list[Any]]:
    old, new = before.model_dump(mode="json"), after.model_dump(mode="json")
    return {
        f"{section}.{key}": [old[section][key], new[section][key]]
        for section, key in (name.split(".") for name in LADDERS)
        if old[section][key] != new[section][key]
    }
