"""The truth that only the simulator knows: what recommendations were worth, by model version."""

import math
from collections import defaultdict
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any

from app.simulator.choice_model import Choice

#: Users by the movies they had watched: up to these, and more.
_STEPS = (0, 1, 2, 4, 8, 16, 32)


@dataclass
class Sums:
    """What choices were worth, summed up."""

    choices: int = 0
    recommended: float = 0.0
    listed: float = 0.0
    unaided: float = 0.0
    chosen: float = 0.0
    best: float = 0.0
    gain_squared: float = 0.0

    def add(self, choice: Choice, recommended: float, listed: float) -> None:
        """Add one."""
        self.choices += 1
        self.recommended += recommended
        self.listed += listed
        self.unaided += choice.unaided
        self.chosen += choice.worth
        self.best += choice.best
        self.gain_squared += (recommended - choice.unaided) ** 2

    def means(self) -> dict[str, Any]:
        """Mean true utilities; `gain` is recommended less unaided, `share` is of the best."""
        count = self.choices
        gain = (self.recommended - self.unaided) / count
        error = math.sqrt(max(0.0, self.gain_squared / count - gain**2) / count)
        names = ("recommended", "listed", "unaided", "chosen", "best")
        return {
            "choices": count,
            **{name: round(getattr(self, name) / count, 4) for name in names},
            "gain": round(gain, 4),
            "gain_error": round(error, 4),
            "share_of_best": round(self.recommended / self.best, 4),
            "share_of_best_unaided": round(self.unaided / self.best, 4),
        }


class Truth:
    """Keeps what choices were worth by version, and by movies watched for those who are new."""

    def __init__(self) -> None:
        self._sums: defaultdict[tuple[str, int, bool], Sums] = defaultdict(Sums)

    def add(self, version: str, choice: Choice, is_founder: bool) -> None:
        """Count one choice of a user who was given something new; others tell nothing."""
        if choice.recommended is not None and choice.listed is not None:
            step = next((n for n, most in enumerate(_STEPS) if choice.watched <= most), len(_STEPS))
            self._sums[version, step, is_founder].add(choice, choice.recommended, choice.listed)

    def versions(self) -> dict[str, dict[str, Any]]:
        """Means by model version."""
        kept = list(self._sums.items())  # at once: metrics are read while a run goes on
        return {
            name: _sum(sums for (version, _, _), sums in kept if version == name).means()
            for name in dict.fromkeys(version for (version, _, _), _ in kept)
        }

    def cold_start(self) -> list[dict[str, Any]]:
        """Means of users the sample does not know, by how many movies they had watched."""
        rows = []
        for step in range(len(_STEPS) + 1):
            new = [s for (_, n, founder), s in self._sums.items() if n == step and not founder]
            if new:
                rows.append({"watched": _step_name(step), **_sum(new).means()})
        return rows


def _sum(parts: Iterable[Sums]) -> Sums:
    total = Sums()
    for part in parts:
        for name, value in vars(part).items():
            setattr(total, name, getattr(total, name) + value)
    return total


def _step_name(step: int) -> str:
    if step == len(_STEPS):
        return f"{_STEPS[-1] + 1}+"
    low = _STEPS[step - 1] + 1 if step else 0
    return str(low) if low == _STEPS[step] else f"{low}-{_STEPS[step]}"
