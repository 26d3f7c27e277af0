"""Answers of two versions in a database, and what users have watched in a store."""

from collections.abc import Iterable
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any

import polars as pl
import sqlalchemy as sa

from app.ingest.schemas import RATING_EVENTS, WATCH_EVENTS
from app.ingest.store_writer import open_writer
from app.model.artifact import ModelMetadata, write_manifest
from app.model.recommendation_lists import LISTS, RecommendationLists
from app.provenance.database import connect, insert_ignore, upgrade
from app.provenance.instance_info import describe_instance, segment_header
from app.provenance.record_format import Record
from app.provenance.tables import US_PER_DAY, instance_rows, metadata, reccom
from app.settings import Settings
from tests.conftest import MOVIES, USERS, write_lists

#: 2023-11-14T22:13:20, the time of the first answer, UTC.
START = datetime(2023, 11, 14, 22, 13, 20)
EPOCH = datetime(1970, 1, 1)


def write_model(directory: Path, version: int, first_movie: int) -> Path:
    """A model of this version whose lists begin with another movie."""
    write_lists(directory, first_movie)
    data = ModelMetadata(version, {"seed": 1}, {}, {"hash": str(version)}, {})
    write_manifest(directory / LISTS, "lists", len(USERS), len(MOVIES), data)
    return directory


class QualityData:
    """Two models, a database and a store.

    Attributes:
        models: version -> model directory: 7 (production) and 8 (candidate).
    """

    def __init__(self, directory: Path) -> None:
        self.settings = Settings(
            store_dir=directory / "store",
            spool_dir=directory / "spool",
            database=f"sqlite:///{directory}/provenance.db",
            log_level="error",
            list_length=5,
        )
        self.models = {
            7: write_model(directory / "7", 7, 0),
            8: write_model(directory / "8", 8, 3),
        }
        self.engine: sa.Engine = connect(self.settings)
        upgrade(self.engine)
        self.lists = {v: RecommendationLists.open(m, 5) for v, m in self.models.items()}
        self._headers = {}
        for version, lists in self.lists.items():
            settings = self.settings.model_copy(update={"slot": f"slot-{version}"})
            self._headers[version] = segment_header(settings, lists.manifest)
            with self.engine.begin() as connection:
                for name, row in instance_rows(describe_instance(settings, lists)).items():
                    insert_ignore(connection, metadata.tables[name], [row])
        self._requests = 0
        self._watches: list[tuple[int, str, int, datetime]] = []

    def answer(
        self, version: int, user: int, at: float, request: str = "", *, client_gone: bool = False
    ) -> list[str]:
        """Record an answer some seconds after START; return its movies."""
        row, movies = self._make_row(version, user, at, request, client_gone)
        self._insert([row])
        return movies

    def answer_all(self, answers: Iterable[tuple[int, int, float]]) -> list[list[str]]:
        """Record answers (version, user, seconds) in one transaction; return their movies."""
        made = [self._make_row(*answer, "", False) for answer in answers]
        self._insert([row for row, _ in made])
        return [movies for _, movies in made]

    def _insert(self, rows: list[dict[str, Any]]) -> None:
        with self.engine.begin() as connection:
            insert_ignore(connection, reccom, rows)

    def _make_row(
        self, version: int, user: int, at: float, request: str, client_gone: bool
    ) -> tuple[dict[str, Any], list[str]]:
        self._requests += 1
        lists = self.lists[version].get(user)
        time_us = round((START - EPOCH) / timedelta(microseconds=1) + at * 1e6)
        record = Record(
            request or f"request-{self._requests}",
            time_us,
            user,
            lists.source,
            80,
            client_gone,
            False,
            lists.movie_numbers,
        )
        row = {
            "day": time_us // US_PER_DAY,
            **self._headers[version]._asdict(),
            **record._asdict(),
            "recent_events": None,
        }
        return row, lists.text.split(",")

    def watch(self, user: int, movie: str, at: float, minutes: int = 3) -> None:
        """Let a user watch the first minutes of a movie, from some seconds after START."""
        begin = START + timedelta(seconds=at)
        self._watches += [
            (user, movie, minute, begin + timedelta(minutes=minute)) for minute in range(minutes)
        ]

    def commit_watches(self) -> None:
        """Write all watches to the store."""
        watches = pl.DataFrame(self._watches, schema=WATCH_EVENTS, orient="row")
        with open_writer(self.settings.store_dir, buckets=4) as writer:
            writer.commit(watches, pl.DataFrame(schema=RATING_EVENTS))

    def environment(self) -> dict[str, str]:
        """Variables for a command."""
        return {
            "MARQUEE_DATABASE": self.settings.database,
            "MARQUEE_STORE_DIR": str(self.settings.store_dir),
            "MARQUEE_LOG_LEVEL": "error",
        }


def listed_only_by(data: QualityData, version: int, other: int, user: int) -> Iterable[str]:
    """Movies of a version's list that the other version's list does not hold."""
    lists = {v: data.lists[v].get(user).text.split(",") for v in (version, other)}
    return [movie for movie in lists[version] if movie not in lists[other]]
