"""How far a batch is from what came before: distributions by PSI, and how much of it there is."""

from datetime import datetime

import numpy as np
import polars as pl
from numpy.typing import NDArray

_GROUPS = 10


def ratings_psi(before: pl.Series, batch: pl.Series, least: int) -> float | None:
    """PSI of the ratings, rounded to whole ones; None with fewer than `least` on either side."""
    if min(len(before), len(batch)) < least:
        return None
    values = np.union1d(before.round().to_numpy(), batch.round().to_numpy())
    counts = [
        np.array([np.count_nonzero(side.round().to_numpy() == value) for value in values])
        for side in (before, batch)
    ]
    return psi(*counts)


def popularity_psi(before: pl.Series, batch: pl.Series, least: int) -> float | None:
    """PSI of events over groups of movies, from the most to the least popular, and new movies.

    Each group had a tenth of the events before, about. None with fewer than `least` events.
    """
    if min(len(before), len(batch)) < least:
        return None
    movies = before.value_counts(sort=True)
    share = movies["count"].cum_sum() - movies["count"]
    group = (share * _GROUPS // len(before)).alias("group")
    groups = movies.with_columns(group)
    found = batch.to_frame().join(groups, on=before.name, how="left")["group"].fill_null(_GROUPS)
    old = groups.group_by("group").agg(pl.col("count").sum())
    counts = np.zeros((2, _GROUPS + 1))
    counts[0, old["group"].to_numpy()] = old["count"].to_numpy()
    counts[1] = np.bincount(found.to_numpy(), minlength=_GROUPS + 1)
    return psi(counts[0], counts[1])


def psi(before: NDArray[np.number], batch: NDArray[np.number]) -> float:
    """Population stability index of two counts over the same bins; half an event in each more."""
    expected = (before + 0.5) / (before + 0.5).sum()
    found = (batch + 0.5) / (batch + 0.5).sum()
    return float(((found - expected) * np.log(found / expected)).sum())


def volume(
    before: pl.Series, batch: pl.Series, moment: datetime | None, spans: int
) -> float | None:
    """The batch's events, by the mean of the spans of equal length before `moment`.

    Only spans that lie wholly within what came before count; None where there is none, or no batch.
    """
    first, last = before.min(), batch.max()
    if moment is None or not isinstance(first, datetime) or not isinstance(last, datetime):
        return None
    length = last - moment
    whole = min(spans, int((moment - first) / length)) if length else 0
    if whole < 1:
        return None
    recent = int((before > moment - whole * length).sum())
    return len(batch) * whole / recent if recent else None
