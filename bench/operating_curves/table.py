"""The table of the operating curves as Markdown, and their picture."""

from pathlib import Path

import numpy as np

from app.canary_analysis.intervals import jeffreys_bounds
from bench.operating_curves.cells import BAD, HEALTHY, MARGIN, Cell
from bench.operating_curves.run import Counts

Results = list[tuple[Cell, Counts]]
#: 97.5 % of a standard normal distribution.
_Z = 1.96
_MAX_ERROR = 0.01


def write_table(results: Results) -> str:
    """Return the table; a row in which a peer does better is marked."""
    lines = [
        "| cell | releases | promoted | inconclusive | aborted | 95 % upper bound of the error "
        "| median minute | Kayenta | Flagger | Argo | |",
        "|---|--:|--:|--:|--:|--:|--:|--:|--:|--:|---|",
    ]
    for cell, counts in results:
        lines.append(_row(cell, counts))
    return "\n".join(lines) + "\n"


def _row(cell: Cell, counts: Counts) -> str:
    n = max(counts.releases, 1)
    error, bound = error_of(cell, counts)
    shares = (counts.promoted, counts.inconclusive, counts.aborted)
    peers = (
        f"{counts.kayenta[1] / max(counts.kayenta[0], 1):.1%}",
        _peer(counts.flagger, counts.flagger_minutes, n),
        _peer(counts.argo, counts.argo_minutes, n),
    )
    columns = [
        cell.name,
        f"{counts.releases:,}",
        *(f"{share / n:.2%}" for share in shares),
        f"{bound:.2%}",
        _median(counts.minutes),
        *peers,
        _remark(cell, counts, error),
    ]
    return "| " + " | ".join(columns) + " |"


def error_of(cell: Cell, counts: Counts) -> tuple[float, float]:
    """Return the share of wrong verdicts and the upper bound of its 95 % interval."""
    wrong = counts.aborted if cell.group == HEALTHY else counts.promoted
    z = np.array(_Z)
    interval = jeffreys_bounds(np.array(float(wrong)), np.array(float(counts.releases)), z, z)
    return wrong / max(counts.releases, 1), float(interval.upper)


def _peer(aborted: int, minutes: list[int] | None, releases: int) -> str:
    median = _median(minutes)
    return f"{aborted / releases:.1%}" + (f" ({median})" if aborted else "")


def _median(minutes: list[int] | None) -> str:
    return f"{np.median(minutes):.0f}" if minutes else ""


def _remark(cell: Cell, counts: Counts, error: float) -> str:
    remarks = []
    if error > _MAX_ERROR:
        remarks.append("**above 1 %**")
    n = max(counts.releases, 1)
    rivals = {
        "Kayenta": counts.kayenta[1] / max(counts.kayenta[0], 1),
        "Flagger": counts.flagger / n,
        "Argo": counts.argo / n,
    }
    ours = counts.aborted / n
    for name, share in rivals.items():
        # Fewer aborts of healthy canaries, fewer promotions at the margin, more aborts of bad ones;
        # or as many, but earlier.
        better = {
            HEALTHY: share < ours,
            MARGIN: 1 - share < counts.promoted / n,
            BAD: share > ours + 0.005,
        }
        if better[cell.group]:
            remarks.append(f"{name} better")
    medians = {"Flagger": counts.flagger_minutes, "Argo": counts.argo_minutes}
    for name, minutes in medians.items():
        comparable = cell.group == BAD and minutes and counts.minutes and rivals[name] >= ours
        if comparable and np.median(minutes or 0) < np.median(counts.minutes or 0):
            remarks.append(f"{name} earlier")
    return ", ".join(remarks)


def draw(results: Results, path: Path) -> None:
    """Draw the errors of each cell with the bound of 1 %, and the medians of detection."""
    import matplotlib  # noqa: PLC0415 - a development tool

    matplotlib.use("Agg")
    from matplotlib import pyplot  # noqa: PLC0415

    figure, axes = pyplot.subplots(1, 3, figsize=(16, 0.19 * len(results) / 1.6 + 3))
    for axis, group in zip(axes, (HEALTHY, MARGIN, BAD), strict=True):
        rows = [(cell, counts) for cell, counts in results if cell.group == group]
        names = [cell.name.split(", ", 1)[1] for cell, _ in rows]
        where = range(len(rows))
        if group == BAD:
            values = [np.median(c.minutes) if c.minutes else np.nan for _, c in rows]
            axis.barh(where, values, color="tab:blue")
            axis.set_xlabel("median minute of ABORT")
            axis.set_xscale("log")
        else:
            errors = [error_of(*row) for row in rows]
            axis.barh(where, [100 * bound for _, bound in errors], color="lightgrey")
            axis.barh(where, [100 * error for error, _ in errors], color="tab:red")
            axis.axvline(1, color="black", linewidth=1)
            wrong = "aborted" if group == HEALTHY else "promoted"
            axis.set_xlabel(f"{wrong} (%), grey: 95 % upper bound")
        axis.set_yticks(where, names, fontsize=6)
        axis.invert_yaxis()
        axis.set_title(group)
    figure.tight_layout()
    figure.savefig(path, dpi=110)
