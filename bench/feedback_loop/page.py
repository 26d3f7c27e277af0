"""Summaries, tables and the picture of the simulated feedback loop."""

from collections import defaultdict
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
from scipy import stats

from bench.feedback_loop.systems import SYSTEMS

#: Days at the end of a run over which the figures are means.
LAST_DAYS = 10
_GROUPS = ("all", "active users", "less active users", "new men", "new women")
_FIGURES = ("coverage", "gini", "similarity")
_CONFIDENCE = 0.95

Parts = list[dict[str, Any]]


def summarize(parts: Parts) -> list[dict[str, Any]]:
    """Return one row for each system: means of the last days, with intervals over the seeds."""
    by_system: dict[str, dict[int, dict[str, float]]] = defaultdict(dict)
    for part in parts:
        by_system[part["system"]][part["seed"]] = _figures(part)
    base = by_system[SYSTEMS[0].name]
    rows = []
    for system in SYSTEMS:
        own = by_system[system.name]
        seeds = sorted(own)
        names = own[seeds[0]]
        rows.append(
            {
                "system": system.name,
                "seeds": len(seeds),
                "seconds": sum(p["seconds"] for p in parts if p["system"] == system.name),
                "figures": {n: _interval([own[s][n] for s in seeds]) for n in names},
                # Paired by seed: users, movies and visits are the same.
                "differences": {
                    n: _interval([own[s][n] - base[s][n] for s in seeds])
                    for n in names
                    if n in base[seeds[0]]
                },
            }
        )
    return rows


def _figures(part: dict[str, Any]) -> dict[str, float]:
    """The figures of a part: means of the last days, and the change since the first ones."""
    days = part["days"]
    last, first = days[-LAST_DAYS:], days[: max(1, min(3, len(days) // 3))]
    found = {}
    for name in _FIGURES:
        if days[0][name] is not None:
            found[name] = _mean(day[name] for day in last)
            found[f"{name}, change"] = found[name] - _mean(day[name] for day in first)
    for name in ("shown", "caused", "explored"):
        found[name] = _mean(day["groups"]["all"][name] for day in last)
    for group in _GROUPS:
        values = [day["groups"][group] for day in last if group in day["groups"]]
        if values:
            visits = np.array([v["visits"] for v in values])
            chosen = np.array([v["chosen"] for v in values])
            found[f"utility, {group}"] = float((visits * chosen).sum() / visits.sum())
    return found


def _mean(values: Any) -> float:
    return float(np.mean(list(values)))


def _interval(values: list[float]) -> list[float]:
    """The mean, and half the width of its interval (95 %, Student's t over the seeds)."""
    mean = float(np.mean(values))
    if len(values) == 1:
        return [mean, float("nan")]
    quantile = float(stats.t.ppf((1 + _CONFIDENCE) / 2, len(values) - 1))
    return [mean, quantile * float(np.std(values, ddof=1)) / len(values) ** 0.5]


def write_tables(summary: list[dict[str, Any]]) -> str:
    """Return the tables in Markdown."""
    lines = [
        "| system | coverage | Gini | similarity | Gini, change | shown | caused |",
        "|---|---|---|---|---|---|---|",
    ]
    names = ("coverage", "gini", "similarity", "gini, change", "shown", "caused")
    lines += [_row(row["system"], row["figures"], names) for row in summary]
    groups = [f"utility, {group}" for group in _GROUPS]
    lines += ["", f"| utility | {' | '.join(_GROUPS)} |", "|---" * (len(groups) + 1) + "|"]
    lines += [_row(row["system"], row["figures"], groups) for row in summary]
    heads = ["coverage", "gini", "similarity", *groups]
    lines += [
        "",
        "| beside `marquee` | coverage | Gini | similarity | " + " | ".join(groups) + " |",
    ]
    lines.append("|---" * (len(heads) + 1) + "|")
    lines += [_row(row["system"], row["differences"], heads) for row in summary[1:]]
    return "\n".join(lines) + "\n"


def _row(system: str, figures: dict[str, list[float]], names: Any) -> str:
    cells = [
        f"{figures[name][0]:.3f} ± {figures[name][1]:.3f}" if name in figures else "-"
        for name in names
    ]
    return f"| {system} | {' | '.join(cells)} |"


def draw(parts: Parts, path: Path) -> None:
    """Draw exposure, coverage, similarity and utility over the retrainings, means of the seeds."""
    import matplotlib as mpl  # noqa: PLC0415 - slow to import

    mpl.use("Agg")
    from matplotlib import pyplot as plt  # noqa: PLC0415

    panels: dict[str, Callable[[dict[str, Any]], Any]] = {
        "Gini coefficient of exposure": lambda day: day["gini"],
        "coverage": lambda day: day["coverage"],
        "similarity between users' lists": lambda day: day["similarity"],
        "true utility of the chosen movie": lambda day: day["groups"]["all"]["chosen"],
        "utility, less active users": lambda day: day["groups"]["less active users"]["chosen"],
        "share of choices caused by answers": lambda day: day["groups"]["all"]["caused"],
    }
    figure, axes = plt.subplots(2, 3, figsize=(12, 6.5), constrained_layout=True)
    for axis, (title, read) in zip(axes.ravel(), panels.items(), strict=True):
        for number, system in enumerate(SYSTEMS):
            runs = [
                [np.nan if read(day) is None else read(day) for day in part["days"]]
                for part in parts
                if part["system"] == system.name
            ]
            means = np.array(runs, float).mean(axis=0)
            if np.isfinite(means).any():
                axis.plot(np.arange(1, len(means) + 1), means, f"C{number}", label=system.name)
        axis.set_title(title, fontsize=10)
        axis.set_xlabel("retraining")
        axis.grid(alpha=0.3)
    handles, names = axes[1, 0].get_legend_handles_labels()
    figure.legend(handles, names, loc="outside lower center", ncols=len(SYSTEMS), fontsize=9)
    figure.savefig(path, dpi=110)
    plt.close(figure)
