"""Groups of users: by gender, age band, occupation, activity, and whether the model knows them."""

from collections.abc import Sequence
from pathlib import Path

import numpy as np
import polars as pl
from numpy.typing import NDArray

from app.fairness.errors import FairnessError
from app.training.segments import name_age_bands

Labels = NDArray[np.str_]

NOT_STATED = "not stated"
#: Upper ends of the groups by number of movies in training; the last group has no end.
_ACTIVITY_ENDS = (0, 4, 19, 99)
_MAX_AGE = 120
_COLUMNS = {"user_id": pl.Int64(), "age": pl.Int64(), "gender": pl.String(),
            "occupation": pl.String()}  # fmt: skip


def read_attributes(path: Path) -> pl.DataFrame | None:
    """Read the users' attributes that `marquee enrich` collected; None without such a file.

    Returns:
        user_id, and those of age (years), gender and occupation that the table has.

    Raises:
        FairnessError: the file is no such table.
    """
    if not path.is_file():
        return None
    try:
        table = pl.read_parquet(path)
        if "user_id" not in table.columns:
            raise FairnessError(f"{path}: no column user_id")
        present = {name: kind for name, kind in _COLUMNS.items() if name in table.columns}
        columns = [pl.col(name).cast(kind) for name, kind in present.items()]
        return table.select(columns).unique("user_id", keep="last", maintain_order=True)
    except (OSError, pl.exceptions.PolarsError) as error:
        raise FairnessError(f"{path} is not a table of users: {error}") from error


def group_users(
    users: NDArray[np.int64],
    known: NDArray[np.bool_],
    activity: NDArray[np.int64],
    attributes: pl.DataFrame | None,
    age_bands: tuple[int, ...],
) -> dict[str, Labels]:
    """Return the group of each user [Q] by attribute.

    Args:
        users: [Q] user ids.
        known: [Q] whether the model knows the user.
        activity: [Q] number of the user's movies in training.
        attributes: as `read_attributes` returns them; None: only what the model knows.
        age_bands: first age of each band after the youngest.
    """
    groups = {} if attributes is None else _group_by_attributes(users, attributes, age_bands)
    groups["activity"] = name_activity(activity)
    groups["known to the model"] = np.where(known, "yes", "no")
    return groups


def get_strata(activity: NDArray[np.int64]) -> NDArray[np.intp]:
    """Return the number of each user's group by activity, the least active first."""
    return np.searchsorted(_ACTIVITY_ENDS, activity, side="left")


def name_activity(activity: NDArray[np.int64]) -> Labels:
    """Return the name of each user's group by activity, such as `5-19 movies`."""
    starts = [0, *(end + 1 for end in _ACTIVITY_ENDS)]
    names = [
        f"{low}+ movies" if high is None else f"{low} movies" if low == high
        else f"{low}-{high} movies"
        for low, high in zip(starts, (*_ACTIVITY_ENDS, None), strict=True)
    ]  # fmt: skip
    return np.array(names)[get_strata(activity)]


def _group_by_attributes(
    users: NDArray[np.int64], attributes: pl.DataFrame, age_bands: tuple[int, ...]
) -> dict[str, Labels]:
    table = pl.DataFrame({"user_id": users}).join(
        attributes, on="user_id", how="left", maintain_order="left"
    )
    groups: dict[str, Labels] = {}
    if "gender" in table.columns:
        groups["gender"] = _to_labels(table["gender"].to_list())
    if "age" in table.columns:
        groups["age"] = _to_labels(_name_ages(table["age"], age_bands))
    if "occupation" in table.columns:
        groups["occupation"] = _to_labels(table["occupation"].to_list())
    return groups


def _name_ages(ages: pl.Series, bands: tuple[int, ...]) -> list[str | None]:
    valid = ages.is_between(0, _MAX_AGE).fill_null(False)
    named = iter(name_age_bands(ages.filter(valid).to_numpy(), bands))
    return [next(named) if known else None for known in valid]


def _to_labels(values: Sequence[str | None]) -> Labels:
    return np.array([(value or "").strip() or NOT_STATED for value in values], dtype=np.str_)
