"""Models with the parts for recent events, for tests."""

from datetime import datetime
from pathlib import Path
from typing import Any

import numpy as np

from app.model.artifact import ModelMetadata, write_array, write_manifest
from app.model.recent_ranking import RecentParams
from app.recent_events import to_seconds
from tests.conftest import MOVIES, USERS

PARAMS: dict[str, Any] = {
    "related_movies": 4,
    "ease_share": 0.5,
    "max_movies": 16,
    "half_life_movies": 4,
    "half_life_hours": 24,
    "max_disliked": 0.25,
    "lowest_weight": 0.5,
    "full_minutes": 60,
    "list": 0.1,
    "list_few": 0,
    "popularity": 0.01,
    "popularity_few": 0,
}
#: Time of the newest event of training.
NEWEST = "2026-05-01T00:00:00"
NEWEST_SECONDS = to_seconds(datetime.fromisoformat(NEWEST))


def make_recent_params(**changes: float) -> RecentParams:
    """Return the parameters with some of them replaced."""
    return RecentParams.model_validate({**PARAMS, **changes})


def add_recent_parts(model: Path) -> Path:
    """Add the parts for recent events to the model of `tests.conftest.write_lists`.

    The four movies after a movie are related to it, with weights 4 to 1. User 7 has seen all
    movies but 0 to 2, the others the first and the last one.
    """
    lists, count = model / "lists", len(MOVIES)
    numbers = (np.arange(count)[:, None] + np.arange(1, 5)) % count
    seen = [np.arange(3, count), *[np.array([0, count - 1])] * (len(USERS) - 1)]
    stored = np.load(lists / "lists.npy")
    scores = np.where(stored < count, np.arange(50)[::-1] / 100, 0)
    write_array(lists, "list_scores", scores.astype(np.float16))
    write_array(lists, "popularity", (np.arange(count) / count).astype(np.float32))
    write_array(lists, "seen_start", np.cumsum([0, *map(len, seen)]))
    write_array(lists, "seen_movies", np.concatenate(seen).astype(np.uint16))
    write_array(lists, "related_movies", numbers.astype(np.uint16))
    write_array(lists, "related_weights", np.tile(np.array([4, 3, 2, 1], np.float32), (count, 1)))
    write_recent_manifest(lists)
    return model


def write_recent_manifest(lists: Path, **parameters: Any) -> None:
    """Write the manifest anew, with the parameters for recent events or others."""
    parameters = {"recent": PARAMS, "rating_scale": [1, 5], **parameters}
    metadata = ModelMetadata(
        version=3, parameters=parameters, metrics={}, data={"newest": NEWEST}, code={}
    )
    write_manifest(lists, "lists", users=len(USERS), movies=len(MOVIES), metadata=metadata)
