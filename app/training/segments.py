"""Popularity by user segment (gender and age band), for users without events."""

from dataclasses import dataclass
from pathlib import Path

import numpy as np
import polars as pl
from numpy.typing import NDArray

from app.cli_errors import MarqueeError
from app.ingest import patterns
from app.ingest.table_layout import NAMES
from app.ingest.text_tables import decode_table, find_fields, parse_text_table, read_content
from app.ingest.training_tables import is_parquet
from app.training.errors import TrainingError
from app.training.interactions import Interactions
from app.training.params import PopularityParams, SegmentParams
from app.training.ranking.popularity import Decay, rank_by_popularity

_COLUMNS = {"user_id": pl.Int64, "age": pl.Int64, "gender": pl.String}
#: Accepted names of the columns, as `table_layout.plain_name` returns them.
_NAMES = {
    "user_id": (*NAMES["user"], "id"),
    "age": ("age", "ageyears"),
    "gender": ("gender", "sex"),
}
_MAX_AGE = 120
_MAX_GENDERS = 20


@dataclass(frozen=True)
class Segments:
    """Users by segment; `A` users, `G` segments, `P` movies each.

    Attributes:
        users: [A] user ids, ascending.
        segment: [A] segment number of each user.
        names: [G] such as `F 25-34`.
        popular: [G, P] movie numbers, most popular in the segment first.
    """

    users: NDArray[np.int64]
    segment: NDArray[np.uint16]
    names: list[str]
    popular: NDArray[np.intp]


def empty_segments(depth: int) -> Segments:
    """Return the segments of a model without user attributes: none."""
    no_users = np.empty(0, np.uint16)
    return Segments(np.empty(0, np.int64), no_users, [], np.empty((0, depth), np.intp))


def read_users(path: Path) -> pl.DataFrame:
    """Read user attributes from Parquet or a text table: user_id, age, gender.

    Other columns are ignored. The content decides which of both it is.

    Raises:
        TrainingError: the file cannot be read, lacks a column, or has one that is not plausible.
    """
    try:
        table = _read_parquet(path) if is_parquet(path) else _read_text(path)
        users = table.select(pl.col(name).cast(kind) for name, kind in _COLUMNS.items())
    except (MarqueeError, OSError, pl.exceptions.PolarsError) as error:
        raise TrainingError(f"{path}: not a table of {', '.join(_COLUMNS)}: {error}") from error
    if not users["age"].drop_nulls().is_between(0, _MAX_AGE).all():
        raise TrainingError(f"{path}: an age is not between 0 and {_MAX_AGE} years")
    if users["gender"].drop_nulls().n_unique() > _MAX_GENDERS:
        raise TrainingError(f"{path}: more than {_MAX_GENDERS} genders; is it another column?")
    return users


def _read_parquet(path: Path) -> pl.DataFrame:
    table = pl.read_parquet(path)
    found = find_fields(str(path), table.columns, _NAMES)
    columns = table.get_columns()
    return pl.DataFrame({name: columns[index] for name, index in found.items()})


def _read_text(path: Path) -> pl.DataFrame:
    table = parse_text_table(str(path), decode_table(read_content(path)))
    found = table.find_columns(_NAMES)
    if not found:
        raise TrainingError("the first row is no header with the names user_id, age and gender")
    columns = {name: table.column(index, 1) for name, index in found.items()}
    texts = pl.DataFrame(columns, schema=dict.fromkeys(columns, pl.String))
    whole = {n: pl.col(n).str.extract(f"^{patterns.TABLE_USER_ID}$") for n in ("user_id", "age")}
    numbers = texts.with_columns(**whole)
    for name in whole:
        wrong = texts.filter(numbers[name].is_null() & texts[name].is_not_null())
        if wrong.height:
            raise TrainingError(f"{name} {wrong[name][0][:40]!r} is not a whole number")
    return numbers


def build_segments(
    table: pl.DataFrame,
    events: Interactions,
    overall: NDArray[np.float64],
    popularity: PopularityParams,
    params: SegmentParams,
    depth: int,
) -> Segments:
    """Group users by gender and age band; a group with too few active users is no segment.

    Args:
        table: user attributes as `read_users` returns them.
        events: the training data.
        overall: [N] popularity among all users; orders movies of equal popularity in a segment.
        popularity: parameters of popularity.
        params: age bands and the minimum number of active users.
        depth: movies in a segment's list.
    """
    named = table.drop_nulls().unique("user_id", keep="last", maintain_order=True).sort("user_id")
    named = named.with_columns(name=_names(named, params.age_bands))
    active = named.filter(pl.col("user_id").is_in(events.users.tolist()))
    sizes = active.group_by("name").len().filter(pl.col("len") >= params.min_users)
    names: list[str] = sizes["name"].sort().to_list()
    if not names:
        return empty_segments(depth)
    named = named.filter(pl.col("name").is_in(names))
    users = named["user_id"].to_numpy()
    segment = named["name"].cast(pl.Enum(names)).to_physical().to_numpy().astype(np.uint16)
    popular = _popular(users, segment, len(names), events, overall, popularity)
    lists = np.full((len(names), depth), len(events.movies), np.intp)
    lists[:, : min(depth, popular.shape[1])] = popular[:, :depth]
    return Segments(users, segment, names, lists)


def name_age_bands(ages: NDArray[np.integer], bands: tuple[int, ...]) -> list[str]:
    """Return the age band of each age in years, such as `25-34`.

    Args:
        ages: [A] ages in years.
        bands: first age of each band after the youngest, ascending.
    """
    labels = [
        f"{low}-{high - 1}" if high else f"{low}+"
        for low, high in zip((0, *bands), (*bands, None), strict=True)
    ]
    return [labels[place] for place in np.searchsorted(bands, ages, side="right").tolist()]


def _names(table: pl.DataFrame, bands: tuple[int, ...]) -> pl.Series:
    labels = pl.Series(name_age_bands(table["age"].to_numpy(), bands), dtype=pl.String)
    return table["gender"].str.strip_chars() + " " + labels


def _popular(
    users: NDArray[np.int64],
    segment: NDArray[np.uint16],
    count: int,
    events: Interactions,
    overall: NDArray[np.float64],
    params: PopularityParams,
) -> NDArray[np.intp]:
    place = np.searchsorted(users, events.users).clip(max=len(users) - 1)
    of_user = np.where(users[place] == events.users, segment[place].astype(np.int64), -1)
    decay, movies = Decay(events, params), len(events.movies)
    score = np.zeros(count * movies)
    for pairs in events.split_pairs():
        of_pair = of_user[events.find_users(np.arange(pairs.start, pairs.stop))]
        known = of_pair >= 0
        cells = of_pair[known] * movies + events.movie[pairs][known]
        np.add.at(score, cells, decay.compute_weights(pairs)[known])
    order = rank_by_popularity(overall)
    return np.stack(
        [order[np.argsort(-row[order], kind="stable")] for row in score.reshape(count, movies)]
    )
