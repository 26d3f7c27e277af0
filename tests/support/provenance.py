"""A spool, a SQLite database, and what writes and reads them."""

from pathlib import Path

import sqlalchemy as sa

from app.model.recommendation_lists import RecommendationLists
from app.provenance.database import connect, upgrade
from app.provenance.instance_info import describe_instance, segment_header
from app.provenance.record_format import Record, encode_record
from app.provenance.shipper import Shipper
from app.provenance.shipper_metrics import ShipperMetrics
from app.provenance.spool_reader import SpoolReader
from app.provenance.spool_writer import SpoolWriter
from app.provenance.tables import metadata
from app.settings import Settings

NOW_US = 1_700_000_000_000_000
RANDOM_PART = "0123456789abcdef0123456789abcdef"
#: Recommendations with the data of their version.
JOIN = """
select A.version_number, A.user_id, B.data_creation, B.trained_on, B.model_rmse
from reccom A, tracking B where A.version_number = B.version_number
order by A.version_number desc limit 2
"""


def make_record(number: int = 0, **changes: object) -> Record:
    """A record with a request id of NGINX, at NOW_US plus `number` milliseconds."""
    moment = NOW_US + number * 1000
    request_id = f"{moment // 1_000_000}.{moment // 1000 % 1000:03d}-{RANDOM_PART}"
    record = Record(
        request_id=request_id,
        answered_at_us=moment,
        user_id=42,
        source="personal",
        duration_us=80,
        client_gone=False,
        is_retry=False,
        movie_numbers=bytes([1, 0, 2, 0]),
    )
    return record._replace(**changes)  # type: ignore[arg-type]


def encoded(number: int = 0, **changes: object) -> bytes:
    """The same record as it is written to the spool."""
    return encode_record(*make_record(number, **changes))


class Environment:
    """One spool with its writers, its reader and its database."""

    def __init__(self, directory: Path, model: Path) -> None:
        self.settings = Settings(
            model_dir=model,
            slot="stable-1",
            spool_dir=directory / "spool",
            database=f"sqlite:///{directory}/provenance.db",
        )
        self.spool = self.settings.spool_dir
        self.lists = RecommendationLists.open(model)
        self.dropped: list[tuple[str, int]] = []

    def writer(self, slot: str = "stable-1", max_bytes: int = 1 << 30) -> SpoolWriter:
        settings = self.settings.model_copy(update={"slot": slot})
        return SpoolWriter(
            self.spool,
            segment_header(settings, self.lists.manifest),
            describe_instance(settings, self.lists),
            max_bytes,
            lambda reason, records: self.dropped.append((reason, records)),
        )

    def engine(self) -> sa.Engine:
        engine = connect(self.settings)
        upgrade(engine)
        return engine

    def shipper(self, engine: sa.Engine, retention_days: int = 36_500) -> Shipper:
        reader = SpoolReader(self.spool)
        return Shipper(reader, engine, ShipperMetrics(reader), retention_days)


def content(engine: sa.Engine) -> dict[str, list[tuple[object, ...]]]:
    """Return the rows of all tables, sorted."""
    with engine.connect() as connection:
        return {
            name: sorted(map(tuple, connection.execute(sa.select(table))), key=repr)
            for name, table in metadata.tables.items()
        }


class _InterruptedError(Exception):
    """Stands for the end of the process."""


def interrupt_migrations(engine: sa.Engine, created: int) -> bool:
    """Run the migrations until they have created so many tables, indexes or partitionings.

    Returns:
        Whether they were interrupted; if not, they are complete.
    """
    remaining = created

    def interrupt(_1: object, _2: object, statement: str, *_3: object) -> None:
        nonlocal remaining
        if statement.strip().startswith(("CREATE TABLE", "CREATE INDEX", "ALTER TABLE")):
            remaining -= 1
            if not remaining:
                raise _InterruptedError

    sa.event.listen(engine, "after_cursor_execute", interrupt)
    try:
        upgrade(engine)
    except _InterruptedError:
        return True
    finally:
        sa.event.remove(engine, "after_cursor_execute", interrupt)
        engine.dispose()
    return False
