"""The movies' side of the report: which movies are shown, and which never."""

import re
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl
from numpy.typing import NDArray

from app.fairness.errors import FairnessError
from app.fairness.params import FairnessParams
from app.fairness.statistics import Floats, bootstrap_means, interval
from app.training.ranking_metrics import gini

UNKNOWN = "unknown"
_DATE = re.compile(r"((?:18|19|20)\d\d)-")
_YEAR_OF_ID = re.compile(r"\D((?:18|19|20)\d\d)$")
#: Bands of popularity: name, and the share of the catalogue up to which they reach.
_BANDS = (("top 1 %", 0.01), ("next 9 %", 0.1), ("next 40 %", 0.5), ("last 50 %", 1.0))

#: Class of movies -> whether each movie [N] belongs to it.
Classes = dict[str, NDArray[np.bool_]]


def read_movies(path: Path) -> pl.DataFrame | None:
    """Read the movies' metadata that `marquee enrich` collected; None without such a file.

    Returns:
        movie_id, release_date, genres (joined by `|`).

    Raises:
        FairnessError: the file is no such table.
    """
    if not path.is_file():
        return None
    try:
        columns = ("movie_id", "release_date", "genres")
        table = pl.read_parquet(path).select(pl.col(name).cast(pl.String) for name in columns)
        return table.unique("movie_id", keep="last", maintain_order=True)
    except (OSError, pl.exceptions.PolarsError) as error:
        raise FairnessError(f"{path} is not a table of movies: {error}") from error


def classify_movies(
    movie_ids: list[str], movie_users: NDArray[np.integer], metadata: pl.DataFrame | None
) -> dict[str, Classes]:
    """Return the classes of the movies by attribute; a movie is in each of its genres.

    The year is that of the release date, or else the one at the end of the movie id.
    """
    known = {} if metadata is None else {row[0]: row[1:] for row in metadata.iter_rows()}
    decades, genres = [], []
    for movie_id in movie_ids:
        date, genre = known.get(movie_id, (None, None))
        found = _DATE.match(date or "") or _YEAR_OF_ID.search(movie_id)
        decades.append([f"{found[1][:3]}0s" if found else UNKNOWN])
        genres.append((genre or UNKNOWN).split("|"))
    classes = {"decade": _to_classes(decades)}
    if any(genre != [UNKNOWN] for genre in genres):
        classes["genre"] = _to_classes(genres)
    classes["popularity"] = classify_popularity(movie_users)
    return classes


def _to_classes(labels: list[list[str]]) -> Classes:
    names = sorted({name for own in labels for name in own})
    classes = {name: np.zeros(len(labels), bool) for name in names}
    for movie, own in enumerate(labels):
        for name in own:
            classes[name][movie] = True
    return classes


def classify_popularity(movie_users: NDArray[np.integer]) -> Classes:
    """Return the bands of popularity, the most popular movies first."""
    order = np.argsort(-movie_users.astype(np.int64), kind="stable")
    classes, start = {}, 0
    for name, share in _BANDS:
        end = max(start, round(share * len(order)))
        classes[name] = np.isin(np.arange(len(order)), order[start:end])
        start = end
    return classes


def describe_exposure(
    shown: NDArray[np.int64],
    movie_users: NDArray[np.integer],
    classes: dict[str, Classes],
    params: FairnessParams,
    seed: int,
) -> dict[str, Any]:
    """Describe which movies are shown.

    Args:
        shown: [Q, k] movie numbers recommended to each user; -1 fills up a shorter list.
        movie_users: [N] users of each movie in training.
        classes: as `classify_movies` returns them.
        params: number of resamples, and the significance of intervals.
        seed: of the bootstrap over users.
    """
    rng = np.random.default_rng(seed)
    exposure = np.bincount(shown[shown >= 0], minlength=len(movie_users))
    overlap = _measure_overlap(shown, rng)
    low, high = interval(
        bootstrap_means(overlap[:, None], params.resamples, rng)[:, 0], params.significance
    ) if len(overlap) else (np.nan, np.nan)  # fmt: skip
    return {
        "movies": len(movie_users),
        "gini": gini(exposure),
        "never_shown": float((exposure == 0).mean()),
        "similarity": {
            "value": float(overlap.mean()) if len(overlap) else None, "low": low, "high": high,
        },
        "by_class": {
            attribute: _describe_classes(shown, movie_users, own, params, rng)
            for attribute, own in classes.items()
        },
    }  # fmt: skip


def _measure_overlap(shown: NDArray[np.int64], rng: np.random.Generator) -> Floats:
    """Return the share of the movies that two users' lists have in common, for random pairs."""
    order = rng.permutation(len(shown))
    pairs = len(order) // 2
    first, second = shown[order[:pairs]], shown[order[pairs : 2 * pairs]]
    common = (first[:, :, None] == second[:, None, :]) & (first[:, :, None] >= 0)
    return np.asarray(common.sum(axis=(1, 2)) / shown.shape[1], np.float64)


def _describe_classes(
    shown: NDArray[np.int64],
    movie_users: NDArray[np.integer],
    classes: Classes,
    params: FairnessParams,
    rng: np.random.Generator,
) -> list[dict[str, Any]]:
    places = np.maximum(1, (shown >= 0).sum(axis=1))
    belongs = np.column_stack([*classes.values()])
    padded = np.vstack([belongs, np.zeros((1, belongs.shape[1]), bool)])
    shares = np.column_stack([column[shown].sum(axis=1) / places for column in padded.T])
    samples = bootstrap_means(shares, params.resamples, rng)
    events = movie_users.sum()
    rows = []
    for number, name in enumerate(classes):
        own = belongs[:, number]
        low, high = interval(samples[:, number], params.significance)
        value = float(shares[:, number].mean())
        watched = float(movie_users[own].sum() / events) if events else 0.0
        rows.append(
            {
                "class": name,
                "movies": int(own.sum()),
                "catalogue": float(own.mean()),
                "watched": watched,
                "shown": {"value": value, "low": low, "high": high},
                "shown_to_watched": value / watched if watched else None,
            }
        )
    return rows
