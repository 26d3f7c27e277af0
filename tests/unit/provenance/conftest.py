"""A queue, a SQLite database and what they need."""

from pathlib import Path

import pytest
import sqlalchemy as sa

from app.model.recommendation_lists import RecommendationLists
from app.provenance.database import connect, upgrade
from app.provenance.instance_info import about, head
from app.provenance.record_format import PERSONAL, Answered
from app.provenance.shipper import Shipper
from app.provenance.shipper_metrics import ShipperMetrics
from app.provenance.spool_reader import Backlog
from app.provenance.spool_writer import Recorder
from app.settings import Settings

NOW = 1_700_000_000_000_000
CHANCE = "0123456789abcdef0123456789abcdef"


def answered(number: int = 0, **changes: object) -> Answered:
    """An answer at the edge's time NOW plus `number` milliseconds."""
    moment = NOW + number * 1000
    name = f"{moment // 1_000_000}.{moment // 1000 % 1000:03d}-{CHANCE}"
    answer = Answered(moment, 42, 80, PERSONAL, name, bytes([1, 0, 2, 0]))
    return answer._replace(**changes)  # type: ignore[arg-type]


class Place:
    """One queue with what writes and reads it."""

    def __init__(self, directory: Path, model: Path) -> None:
        self.settings = Settings(
            model_dir=model,
            slot="stable-1",
            spool_dir=directory / "queue",
            database=f"sqlite:///{directory}/provenance.db",
        )
        self.queue = self.settings.spool_dir
        self.lists = RecommendationLists.open(model)
        self.lost: list[tuple[str, int]] = []

    def recorder(self, slot: str = "stable-1", max_bytes: int = 1 << 30) -> Recorder:
        settings = self.settings.model_copy(update={"slot": slot})
        return Recorder(
            self.queue,
            head(settings, self.lists),
            about(settings, self.lists),
            max_bytes,
            lambda kind, records: self.lost.append((kind, records)),
        )

    def engine(self) -> sa.Engine:
        engine = connect(self.settings)
        upgrade(engine)
        return engine

    def shipper(self, engine: sa.Engine, keep_days: int = 36_500) -> Shipper:
        backlog = Backlog(self.queue)
        return Shipper(backlog, engine, ShipperMetrics(backlog), keep_days)


@pytest.fixture
def place(tmp_path: Path, shared_model: Path) -> Place:
    return Place(tmp_path, shared_model)
