"""Read versions, and what was recommended to a user, from the provenance database."""

import json
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any

import sqlalchemy as sa
from sqlalchemy.exc import SQLAlchemyError

from app.console.sources import SourceError
from app.provenance.database import describe_error
from app.provenance.lineage import Lineage
from app.provenance.tables import build, is_request_id, quality, tracking

MAX_VERSIONS = 50
#: Rows of the table `quality` that are searched for the newest ones.
_QUALITY_ROWS = 400
#: Recommendations of a user that are shown.
MAX_RECORDS = 5


@dataclass(frozen=True)
class OnlineQuality:
    """A row of the table `quality`.

    Attributes:
        production: the version that it was compared with.
        horizon: of the credit, `1h` or `24h`.
        value: `takes` or `minutes`, per answer.
        mean: of this version.
        production_mean: of the other one.
        difference: between the two, paired within users.
        low: lower end of the 95 % interval of the difference; None where it is not known.
        high: its upper end.
        answers: of this version, that were counted.
        computed_at: in Unix seconds.
    """

    production: int
    horizon: str
    value: str
    mean: float
    production_mean: float
    difference: float
    low: float | None
    high: float | None
    answers: int
    computed_at: float


@dataclass(frozen=True)
class Version:
    """A version of data and model, with the builds that contain it.

    Attributes:
        number: of the version.
        trained_on: when it was trained, as the model's manifest has it.
        data_newest: time of its newest event, as the log has it.
        commit: of the code that trained it.
        metrics: name -> value, those that are numbers, nested ones as `group.name`.
        data_hash: of its data.
        model_hash: of its model.
        builds: number of builds of images.
        quality: its online quality, as it was computed last, beside each other version.
    """

    number: int
    trained_on: str
    data_newest: str
    commit: str
    metrics: dict[str, float]
    data_hash: str
    model_hash: str
    builds: int
    quality: list[OnlineQuality] = field(default_factory=list)


class Records:
    """Reads the database as a user that can only select.

    Args:
        engine: connects with time-outs of seconds.
    """

    def __init__(self, engine: sa.Engine) -> None:
        self._engine = engine
        self._lineage = Lineage(engine)

    def read_versions(self) -> list[Version]:
        """Return the newest versions, newest first.

        Raises:
            SourceError: the database cannot be reached or read.
        """
        count = sa.func.count(build.c.build_id)
        query = (
            sa.select(tracking, count.label("builds"))
            .outerjoin(build, build.c.version_number == tracking.c.version_number)
            .group_by(*tracking.c)
            .order_by(tracking.c.version_number.desc())
            .limit(MAX_VERSIONS)
        )
        newest = sa.select(quality).order_by(quality.c.computed_at_us.desc()).limit(_QUALITY_ROWS)
        with _explained(), self._engine.connect() as connection:
            rows = [dict(row) for row in connection.execute(query).mappings()]
            qualities = _group_quality(dict(row) for row in connection.execute(newest).mappings())
        return [_parse_version(row, qualities) for row in rows]

    def find_user(self, user_id: int) -> list[dict[str, Any]]:
        """Return a user's last recommendations, newest first, as `marquee trace` does.

        Raises:
            SourceError: as above.
        """
        with _explained():
            return self._lineage.find_user(user_id, MAX_RECORDS)

    def find_request(self, request_id: str) -> list[dict[str, Any]]:
        """Return the records of a request; none for what is no id of a request.

        Raises:
            SourceError: as above.
        """
        if not is_request_id(request_id):  # without a day, every partition would be searched
            return []
        with _explained():
            return self._lineage.find_request(request_id)


@contextmanager
def _explained() -> Iterator[None]:
    try:
        yield
    except SQLAlchemyError as error:
        raise SourceError(f"the database does not respond: {describe_error(error)}") from error


def _group_quality(rows: Iterable[dict[str, Any]]) -> dict[int, list[OnlineQuality]]:
    """The newest row of each pair, horizon and value, by version; rows are newest first."""
    found: dict[tuple[int, int, str, str], OnlineQuality] = {}
    for row in rows:
        key = (
            row["candidate_version"],
            row["production_version"],
            row["horizon"],
            row["value"],
        )
        if key not in found:
            found[key] = _parse_quality(row)
    qualities: dict[int, list[OnlineQuality]] = {}
    for key in sorted(found):
        qualities.setdefault(key[0], []).append(found[key])
    return qualities


def _parse_quality(row: dict[str, Any]) -> OnlineQuality:
    return OnlineQuality(
        production=row["production_version"],
        horizon=row["horizon"],
        value=row["value"],
        mean=row["candidate"],
        production_mean=row["production"],
        difference=row["difference"],
        low=row["interval_low"],
        high=row["interval_high"],
        answers=row["candidate_answers"],
        computed_at=row["computed_at_us"] / 1e6,
    )


def _parse_version(row: dict[str, Any], qualities: dict[int, list[OnlineQuality]]) -> Version:
    return Version(
        number=row["version_number"],
        trained_on=row["trained_on"] or "",
        data_newest=row["data_creation"] or "",
        commit=row["trained_by_commit"] or "",
        metrics=_flatten_metrics(row["ranking_metrics"]),
        data_hash=row["data_hash"] or "",
        model_hash=row["model_hash"] or "",
        builds=row["builds"],
        quality=qualities.get(row["version_number"], []),
    )


def _flatten_metrics(text: str | None) -> dict[str, float]:
    try:
        content = json.loads(text or "{}")
    except ValueError:
        return {}
    return dict(_numbers("", content))


def _numbers(prefix: str, content: Any) -> Iterator[tuple[str, float]]:
    if isinstance(content, dict):
        for name, value in content.items():
            yield from _numbers(f"{prefix}.{name}" if prefix else str(name), value)
    elif isinstance(content, int | float) and not isinstance(content, bool):
        yield prefix, float(content)
