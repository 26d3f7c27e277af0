"""A model's figures in words: the body of its commit and of its mail."""

import json
from pathlib import Path
from typing import Any

_FIGURES = ("rmse", "mae", "ndcg", "recall", "precision", "map", "coverage", "gini")


def figures_in(reports: Path) -> dict[str, Any]:
    """What `marquee evaluate` said."""
    found: dict[str, Any] = json.loads((reports / "metrics.json").read_bytes())
    return found


def body_of(figures: dict[str, Any], compared: str, manifest: dict[str, Any] | None = None) -> str:
    """All figures, one a line; `manifest` is that of the model, if there is one."""
    lines = [f"On {figures['events']:,} held-out events of {figures['users']:,} users:"]
    lines += [f"{name:<10}{_figure(figures.get(name))}" for name in _FIGURES]
    lines += ["", compared]
    if manifest is not None:
        data = manifest["data"]
        lines += [
            "",
            f"Trained on everything: {data['pairs']:,} pairs of {data['users']:,} users and "
            f"{data['movies']:,} movies ({data['ratings']:,} ratings), newest {data['newest']}",
            f"Model {manifest['model_hash']}",
            f"Data  {data['sha256']}",
        ]
    return "\n".join(lines)


def _figure(value: float | None) -> str:
    return "-" if value is None else f"{value:.4f}"
