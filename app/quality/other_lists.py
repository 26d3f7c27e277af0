"""Make the list that another version would have answered, from the record of an answer.

A list of the user's own, or of popular movies, depends on the user alone. One that depends on
recent events is made from the events in the record; the user's earlier movies, of which a record
has only the number, are not left out of it. Where the other version's data is older, its list may
have depended on events that the record does not have.
"""

import json
from pathlib import Path
from typing import Any, NamedTuple

import polars as pl
import sqlalchemy as sa

from app.model.packed_events import EventPacker
from app.model.recommendation_lists import RecommendationLists, movie_number_dtype
from app.provenance.tables import configuration
from app.quality.answers import MovieNumbers
from app.quality.errors import QualityError
from app.recent_events import UNKNOWN_MOVIE, RecentEvent

_SLICE_ROWS = 20_000


class _Answer(NamedTuple):
    user_id: int
    version: int
    source: str
    configuration_id: int | None
    recent_events: bytes | None


class OtherLists:
    """Makes the lists of two versions for the answers of each other.

    Args:
        engine: of the database of provenance.
        models: the model directory of each version.
        numbers: of movies.

    Raises:
        ArtifactError: a model is missing or damaged.
        QualityError: a model is of another version.
    """

    def __init__(self, engine: sa.Engine, models: dict[int, Path], numbers: MovieNumbers) -> None:
        self._engine = engine
        self._models = models
        self._numbers = numbers
        self._configurations: dict[int, tuple[int, list[str]]] = {}
        self._lists: dict[tuple[int, int], RecommendationLists] = {}
        self._by_id: dict[int, dict[str, int]] = {}
        self._plain: dict[int, RecommendationLists] = {}
        for version, path in models.items():
            self._plain[version] = lists = RecommendationLists.open(path, verify=True)
            if lists.manifest.version != version:
                found = lists.manifest.version
                raise QualityError(f"{path} is the model of version {found}, not {version}")

    def make(self, answers: pl.DataFrame, versions: tuple[int, int]) -> pl.Series:
        """Make the list of the other version for each answer.

        Args:
            answers: of both versions (`RECORDED`).
            versions: candidate and production.

        Returns:
            [answers] movie numbers, best first; null where the list cannot be made.
        """
        first, second = versions
        other_of = {first: second, second: first}
        rows = answers.select(_Answer._fields)
        made = [pl.Series("other", [], dtype=pl.List(pl.Int32))]
        for part in rows.iter_slices(_SLICE_ROWS):  # lists of Python take ten times as much memory
            lists = [self._make(_Answer(*row), other_of.get(row[1])) for row in part.iter_rows()]
            made.append(pl.Series("other", lists, dtype=pl.List(pl.Int32)))
        return pl.concat(made)

    def _make(self, answer: "_Answer", other: int | None) -> list[int] | None:
        if other not in self._models or answer.configuration_id is None:
            return None
        lists = self._open(other, answer.configuration_id)
        made = lists.get(answer.user_id)
        if answer.source == "recent" and answer.recent_events:
            events = self._translate(answer.recent_events, answer.version, lists)
            if events is None:
                return None
            ranked = lists.rank_recent(answer.user_id, *events)
            made = ranked[0] if ranked else made
        return self._numbers.add(made.text.split(",")).tolist() if made.text else []

    def _translate(
        self, packed: bytes, version: int, other: RecommendationLists
    ) -> tuple[list[RecentEvent], float] | None:
        """The recorded events with the other model's movie numbers, and the time of the answer."""
        lists = self._plain.get(version)
        if lists is None or lists.recent is None:
            return None
        movies = len(lists.movie_ids)
        packer = EventPacker(movies, movie_number_dtype(movies), lists.recent.rating_scale)
        try:
            unpacked = packer.unpack(packed)
        except ValueError:
            return None
        number_of = self._number_of(other)
        ids = lists.movie_ids
        events = [
            event._replace(
                movie=event.movie
                if event.movie == UNKNOWN_MOVIE
                else number_of.get(ids[event.movie], UNKNOWN_MOVIE)
            )
            for event in unpacked.events
        ]
        return events, float(unpacked.now)

    def _number_of(self, lists: RecommendationLists) -> dict[str, int]:
        """The movie numbers of a model by movie id."""
        key = lists.manifest.version
        if key not in self._by_id:
            self._by_id[key] = {name: number for number, name in enumerate(lists.movie_ids)}
        return self._by_id[key]

    def _open(self, version: int, configuration_id: int) -> RecommendationLists:
        key = version, configuration_id
        if key not in self._lists:
            length, hidden = self._read_configuration(configuration_id)
            self._lists[key] = RecommendationLists.open(self._models[version], length, hidden)
        return self._lists[key]

    def _read_configuration(self, configuration_id: int) -> tuple[int, list[str]]:
        found = self._configurations.get(configuration_id)
        if found is None:
            columns = configuration.c
            query = sa.select(columns.list_length, columns.hidden_movies).where(
                columns.configuration_id == configuration_id
            )
            with self._engine.connect() as connection:
                row: Any = connection.execute(query).first()
            if row is None:
                raise QualityError(f"the configuration {configuration_id} is not in the database")
            found = self._configurations[configuration_id] = (row[0], json.loads(row[1]))
        return found
