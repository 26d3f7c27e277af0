"""Mean true utility of recommendations by model version, which only a simulator can know."""

import math
from collections import defaultdict
from collections.abc import Iterable
from dataclasses import dataclass, fields
from typing import Any

from app.simulator.choice_model import Choice

#: The utilities of a `Choice` that are averaged.
UTILITIES = ("recommended", "listed", "organic", "chosen", "best")
#: Upper ends of the groups of users by movies watched; the last group has no end.
_GROUP_ENDS = (0, 1, 2, 4, 8, 16, 32)


@dataclass
class UtilitySums:
    """Sums of the utilities of choices."""

    choices: int = 0
    recommended: float = 0.0
    listed: float = 0.0
    organic: float = 0.0
    chosen: float = 0.0
    best: float = 0.0
    squared_gain: float = 0.0

    def add(self, choice: Choice, recommended: float, listed: float) -> None:
        """Add one choice."""
        self.choices += 1
        self.recommended += recommended
        self.listed += listed
        self.organic += choice.organic
        self.chosen += choice.chosen
        self.best += choice.best
        self.squared_gain += (recommended - choice.organic) ** 2

    def means(self) -> dict[str, Any]:
        """Return the means; `gain` is recommended minus organic utility."""
        count = self.choices
        gain = (self.recommended - self.organic) / count
        standard_error = math.sqrt(max(0.0, self.squared_gain / count - gain**2) / count)
        return {
            "choices": count,
            **{name: round(getattr(self, name) / count, 4) for name in UTILITIES},
            "gain": round(gain, 4),
            "gain_standard_error": round(standard_error, 4),
            "share_of_best": round(self.recommended / self.best, 4),
            "share_of_best_organic": round(self.organic / self.best, 4),
        }


class UtilityMetrics:
    """Utilities by model version, and by movies watched for users who are not in the sample."""

    def __init__(self) -> None:
        #: By version, group of movies watched, and whether the user is in the sample.
        self._sums: defaultdict[tuple[str, int, bool], UtilitySums] = defaultdict(UtilitySums)

    def record(self, version: str, choice: Choice, is_in_sample: bool) -> None:
        """Record a choice; ignored when no recommended movie was new to the user."""
        if choice.recommended is None or choice.listed is None:
            return
        group = next(
            (n for n, end in enumerate(_GROUP_ENDS) if choice.n_watched <= end), len(_GROUP_ENDS)
        )
        key = (version, group, is_in_sample)
        self._sums[key].add(choice, choice.recommended, choice.listed)

    def by_version(self) -> dict[str, dict[str, Any]]:
        """Return the means by model version."""
        sums = list(self._sums.items())  # a copy: another thread reads this for Prometheus
        return {
            name: _total(part for (version, _, _), part in sums if version == name).means()
            for name in dict.fromkeys(version for (version, _, _), _ in sums)
        }

    def cold_start(self) -> list[dict[str, Any]]:
        """Return the means of users who are not in the sample, by movies watched before."""
        rows = []
        for group in range(len(_GROUP_ENDS) + 1):
            sums = [
                part
                for (_, number, is_in_sample), part in self._sums.items()
                if number == group and not is_in_sample
            ]
            if sums:
                rows.append({"watched": _group_name(group), **_total(sums).means()})
        return rows


def _total(parts: Iterable[UtilitySums]) -> UtilitySums:
    total = UtilitySums()
    for part in parts:
        for field in fields(UtilitySums):
            setattr(total, field.name, getattr(total, field.name) + getattr(part, field.name))
    return total


def _group_name(group: int) -> str:
    if group == len(_GROUP_ENDS):
        return f"{_GROUP_ENDS[-1] + 1}+"
    low = _GROUP_ENDS[group - 1] + 1 if group else 0
    return str(low) if low == _GROUP_ENDS[group] else f"{low}-{_GROUP_ENDS[group]}"
