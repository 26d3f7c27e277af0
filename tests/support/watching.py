"""Users who watch what a release recommends, if it is what they like."""

import random
import subprocess
from collections import defaultdict
from datetime import UTC, datetime, timedelta
from pathlib import Path

import numpy as np

from app.model.artifact import ModelMetadata, write_manifest
from app.model.manifest import read_manifest
from app.model.recommendation_lists import LISTS, RecommendationLists
from tests.support.stack import Stack

#: Of the answers whose list a user looks at.
LOOKING_SHARE = 0.4
#: Movies of a list that a user reads, and first movies of the model's own list that they like. Of
#: the lists of other users, two fifths have a liked movie among those that are read.
READ, LIKED = 3, 5
#: From an answer to the watch, and from the newest answer to the newest watch: answers that are
#: younger than an hour then do not count.
DELAY, AFTERWARDS = timedelta(seconds=5), timedelta(hours=1, minutes=10)
#: User -> movies.
WatchedMovies = defaultdict[int, set[str]]


def exchange_lists(model: Path) -> None:
    """Give each user the list of another one: as fast and as personal, and liked less."""
    lists = model / LISTS
    rows = np.load(lists / "lists.npy")
    np.save(lists / "lists.npy", np.roll(rows, len(rows) // 2, axis=0))
    old = read_manifest(lists, "lists")
    metadata = ModelMetadata(old.version, old.parameters, old.metrics, old.data, old.code)
    write_manifest(lists, "lists", users=old.users, movies=old.movies, metadata=metadata)


class Watching:
    """What the users of a stack watch.

    Args:
        stack: where it is recorded.
        model: which lists they like.
        models: version -> model that has answered.
        watched: what they have watched before; added to.
    """

    def __init__(
        self, stack: Stack, model: Path, models: dict[int, Path], watched: WatchedMovies
    ) -> None:
        self._stack = stack
        self._liked = RecommendationLists.open(model)
        self._lists = {version: RecommendationLists.open(path) for version, path in models.items()}
        self._watched = watched

    def watch_since(self, start: datetime) -> int:
        """Watch what was recommended from a time (UTC) on; return the number of watches.

        A user looks at some of the lists, and watches the first movie there that they like and
        have not watched. Each is one line of the log, after the answer.
        """
        rng = random.Random(6)
        rows = self._stack.sql(
            "select user_id, version_number, answered_at_us from reccom"
            f" where answered_at_us >= {round(start.timestamp() * 1e6)} and not client_gone"
            " order by answered_at_us"
        )
        lines = []
        time = start
        for user, version, time_us in (map(int, row) for row in rows):
            time = datetime.fromtimestamp(time_us / 1e6, UTC)
            if version not in self._lists or rng.random() >= LOOKING_SHARE:
                continue
            liked = set(self._liked.get(user).text.split(",")[:LIKED]) - self._watched[user]
            listed = self._lists[version].get(user).text.split(",")[:READ]
            if movie := next((movie for movie in listed if movie in liked), None):
                self._watched[user].add(movie)
                lines.append(_format_line(time + DELAY, user, movie))
        lines.append(_format_line(time + AFTERWARDS, 1, self._liked.movie_ids[0]))
        collect(self._stack, lines)
        return len(lines) - 1


def _format_line(time: datetime, user: int, movie: str) -> str:
    return f"{time:%Y-%m-%dT%H:%M:%S},{user},GET /data/m/{movie}/0.mpg"


def collect(stack: Stack, lines: list[str]) -> None:
    """Add lines of the log to the event store."""
    subprocess.run(
        ["docker", "compose", "exec", "-T", "collector", "marquee", "collect", "--file", "-"],
        cwd=stack.clone, env=stack.environment, input="\n".join([*lines, ""]), text=True,
        check=True, capture_output=True, timeout=300,
    )  # fmt: skip
