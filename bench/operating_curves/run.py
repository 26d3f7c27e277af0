"""Compute cells in batches, resume after an interruption, and count verdicts."""

import hashlib
import json
import time
import zlib
from dataclasses import asdict, dataclass
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np

from app.atomic_files import write_file
from app.canary_analysis import checks
from app.canary_analysis.checks import NEVER
from app.canary_analysis.limits import Limits
from app.canary_analysis.verdict import ABORT, INCONCLUSIVE, PROMOTE, decide
from bench.operating_curves import peers
from bench.operating_curves.cells import Cell
from bench.operating_curves.streams import simulate

#: Releases simulated at once: the largest array has this many times minutes times buckets.
BATCH = 100
#: Releases of a cell that Kayenta's rule judges: it sorts half a million differences for each.
KAYENTA_RELEASES = 100
_SEED = 20_260_901
#: Modules of the analysis that only read and print.
_NOT_JUDGING = {"analysis", "commands", "errors", "history", "prometheus", "report", "samples"}


@dataclass
class Counts:
    """Verdicts of one cell.

    Attributes:
        releases: number of simulated releases.
        promoted, inconclusive, aborted: verdicts.
        minutes: minute of each ABORT (the last one of the window without a guard).
        kayenta: releases judged by Kayenta's rule, and aborted by it.
        flagger, argo: releases aborted.
        flagger_minutes, argo_minutes: minutes of these.
        seconds: CPU time.
    """

    releases: int = 0
    promoted: int = 0
    inconclusive: int = 0
    aborted: int = 0
    minutes: list[int] | None = None
    kayenta: tuple[int, int] = (0, 0)
    flagger: int = 0
    argo: int = 0
    flagger_minutes: list[int] | None = None
    argo_minutes: list[int] | None = None
    seconds: float = 0.0


def run_cell(
    cell: Cell,
    releases: int,
    directory: Path | None,
    limits: Limits,
    with_kayenta: bool = True,
) -> Counts:
    """Simulate a cell up to a number of releases, going on from what the directory has.

    Args:
        cell: what to simulate.
        releases: number of releases.
        directory: where the counts are kept after each batch; None keeps nothing.
        limits: limits of the verdict.
        with_kayenta: whether Kayenta's rule, which is slow, judges the first releases too.
    """
    path = directory / _file_name(cell) if directory else None
    counts = (
        _load(path, _key(cell, limits))
        if path
        else Counts(minutes=[], flagger_minutes=[], argo_minutes=[])
    )
    while counts.releases < releases:
        batch = min(BATCH, releases - counts.releases)
        _add_batch(counts, cell, batch, limits, KAYENTA_RELEASES if with_kayenta else 0)
        if path:
            write_file(path, json.dumps(_key(cell, limits) | {"counts": asdict(counts)}).encode())
    return counts


def read_cell(cell: Cell, directory: Path, limits: Limits) -> Counts:
    """Return the stored counts of a cell; none if the cell, the limits or the code have changed."""
    return _load(directory / _file_name(cell), _key(cell, limits))


def _add_batch(
    counts: Counts, cell: Cell, releases: int, limits: Limits, kayenta_releases: int
) -> None:
    started = time.process_time()
    # The seed is that of the cell and of its first release: an interruption changes nothing.
    seed = [_SEED, zlib.crc32(cell.name.encode()), counts.releases]
    observations = simulate(cell.stream, releases, np.random.default_rng(seed))
    decision = decide(observations, limits)
    counts.promoted += int((decision.verdict == PROMOTE).sum())
    counts.inconclusive += int((decision.verdict == INCONCLUSIVE).sum())
    aborted = decision.verdict == ABORT
    counts.aborted += int(aborted.sum())
    minutes = np.minimum(decision.aborted_at, observations.minutes - 1)[aborted]
    counts.minutes = [*(counts.minutes or []), *minutes.tolist()]
    for name, at in (
        ("flagger", peers.flagger_aborts_at(observations)),
        ("argo", peers.argo_aborts_at(observations)),
    ):
        hit = at < NEVER
        setattr(counts, name, getattr(counts, name) + int(hit.sum()))
        earlier = getattr(counts, f"{name}_minutes") or []
        setattr(counts, f"{name}_minutes", [*earlier, *at[hit].tolist()])
    if counts.kayenta[0] < kayenta_releases:
        failed = peers.kayenta_aborts(observations)
        counts.kayenta = (counts.kayenta[0] + len(failed), counts.kayenta[1] + int(failed.sum()))
    counts.releases += releases
    counts.seconds += time.process_time() - started


def _key(cell: Cell, limits: Limits) -> dict[str, Any]:
    """Return what the counts depend on, so that those of another method are not continued."""
    return {"cell": asdict(cell), "seed": _SEED, "limits": asdict(limits), "code": hash_code()}


@cache
def hash_code() -> str:
    """Return a hash of the code that simulates and judges."""
    here = Path(__file__).parent
    judging = Path(checks.__file__).parent.glob("*.py")
    paths = [path for path in judging if path.stem not in _NOT_JUDGING]
    digest = hashlib.sha256()
    for path in sorted([*paths, here / "streams.py", here / "peers.py"]):
        digest.update(path.read_bytes())
    return digest.hexdigest()[:16]


def _load(path: Path, key: dict[str, Any]) -> Counts:
    """Return the stored counts, or none if the cell, the limits or the code have changed."""
    try:
        content = json.loads(path.read_bytes())
    except FileNotFoundError:
        content = {}
    if {name: content.get(name) for name in key} == key:
        counts = Counts(**content["counts"])
        counts.kayenta = (counts.kayenta[0], counts.kayenta[1])
        return counts
    return Counts(minutes=[], flagger_minutes=[], argo_minutes=[])


def _file_name(cell: Cell) -> str:
    name = cell.name.lower().replace("%", "pct")
    return "".join(c if c.isalnum() else "-" for c in name) + ".json"
