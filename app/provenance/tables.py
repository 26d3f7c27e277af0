"""The tables of provenance, for SQLite and MariaDB alike; `docs/provenance.md` describes them."""

import base64
import re
from typing import TYPE_CHECKING, Any

from sqlalchemy import (
    BigInteger,
    Boolean,
    Column,
    Float,
    Index,
    Integer,
    LargeBinary,
    MetaData,
    PrimaryKeyConstraint,
    String,
    Table,
    Text,
)
from sqlalchemy.dialects.mysql import LONGBLOB, MEDIUMTEXT, VARBINARY, VARCHAR
from sqlalchemy.types import TypeEngine

from app.provenance import record_format
from app.provenance.record_format import FieldType, Record, SegmentHeader, field_types

if TYPE_CHECKING:
    from app.provenance.spool_reader import RecordBatch

US_PER_DAY = 86_400_000_000
#: Seconds, milliseconds, random (nginx.conf).
_NGINX_ID = re.compile(r"(\d{10})\.(\d{3})-")
_WHOLE_NGINX_ID = re.compile(_NGINX_ID.pattern + r"[0-9a-f]{32}", re.ASCII)
_SLOT_ID = re.compile(r"(1[0-9a-f]{15})[0-9a-f]{8}")  # nanoseconds, random (app.service.recommend)

metadata = MetaData()


def _ascii(length: int) -> String:
    """Text of ASCII characters: one byte each, compared byte by byte."""
    return String(length).with_variant(
        VARCHAR(length, charset="ascii", collation="ascii_bin"), "mysql"
    )


def _column_type(type_: FieldType) -> TypeEngine[Any]:
    match type_:
        case record_format.Number(code="?"):
            return Boolean(create_constraint=False)
        case record_format.Number(code="i"):
            return Integer()
        case record_format.Number():
            return BigInteger()
        case record_format.Choice(values):
            return _ascii(max(map(len, values)))
        case record_format.Text(max_bytes):
            return _ascii(max_bytes)
        case record_format.Binary(max_bytes):
            return LargeBinary().with_variant(VARBINARY(max_bytes), "mysql")


def _get_columns(declaration: type[SegmentHeader] | type[Record]) -> list[Column[Any]]:
    """The columns of the declared fields; those that records of format 1 lack may be null."""
    optional = record_format.get_optional_fields(declaration)
    return [
        Column(name, _column_type(type_), nullable=name in optional)
        for name, type_ in field_types(declaration).items()
    ]


#: One row for each recommendation. `day` (days since 1970) is derived from the request id, so that
#: the same request at the same slot has the same key whenever its record arrives. MariaDB has one
#: partition for each day.
reccom = Table(
    "reccom",
    metadata,
    Column("day", Integer, nullable=False, autoincrement=False),
    *_get_columns(SegmentHeader),
    *_get_columns(Record),
    PrimaryKeyConstraint("day", "request_id", "slot"),
    Index("reccom_user", "user_id", "answered_at_us"),
    Index("reccom_version", "version_number"),
    sqlite_with_rowid=False,
)

#: One row for each version: its data and its model.
tracking = Table(
    "tracking",
    metadata,
    Column("version_number", Integer, primary_key=True, autoincrement=False),
    Column("data_creation", String(40)),
    Column("trained_on", String(40)),
    Column("model_rmse", Float(53)),
    Column("ranking_metrics", Text),
    Column("data_hash", _ascii(64)),
    Column("model_hash", _ascii(64)),
    Column("trained_by_commit", _ascii(64)),
    Column("libraries", Text),
    Column("parameters", Text),
)

#: One row for each build of an image: its code, and the model in it.
build = Table(
    "build",
    metadata,
    Column("build_id", _ascii(72), primary_key=True),
    Column("version_number", Integer, nullable=False),
    Column("model_hash", _ascii(64), nullable=False),
    Column("git_commit", _ascii(64), nullable=False),
    Column("image_digest", _ascii(80), nullable=False),
)

#: One row for each model: the movie ids of its movie numbers, so that old records can be read.
catalogue = Table(
    "catalogue",
    metadata,
    Column("model_hash", _ascii(64), primary_key=True),
    Column("movie_count", Integer, nullable=False),
    Column("movie_ids", LargeBinary().with_variant(LONGBLOB(), "mysql"), nullable=False),
)

#: The state of the upkeep (`database.enforce_retention`), one row. Not part of a backup.
upkeep = Table(
    "upkeep",
    MetaData(),
    Column("id", Integer, primary_key=True, autoincrement=False),
    Column("retention_days", Integer, nullable=False),
    Column("checked_day", Integer),
    Column("resume_day", Integer, nullable=False),
)


#: One row for each combination of what a list depends on besides the model, the user and recent
#: events: hidden movies (JSON), length, and the end of the model's data.
configuration = Table(
    "configuration",
    metadata,
    Column("configuration_id", BigInteger, primary_key=True, autoincrement=False),
    Column("model_hash", _ascii(64), nullable=False),
    Column("list_length", Integer, nullable=False),
    Column("hidden_movies", Text().with_variant(MEDIUMTEXT(), "mysql"), nullable=False),
    Column("data_newest", String(40)),
)


#: Online quality (`marquee quality`): one row for each computation, pair of versions, horizon of
#: the credit (`1h`, `24h`) and value (`takes`, `minutes`). Not part of a backup: it can be computed
#: again.
quality = Table(
    "quality",
    MetaData(),
    Column("computed_at_us", BigInteger, nullable=False, autoincrement=False),
    Column("candidate_version", Integer, nullable=False, autoincrement=False),
    Column("production_version", Integer, nullable=False, autoincrement=False),
    Column("horizon", _ascii(8), nullable=False),
    Column("value", _ascii(16), nullable=False),
    Column("candidate", Float(53), nullable=False),
    Column("production", Float(53), nullable=False),
    Column("difference", Float(53), nullable=False),
    Column("standard_error", Float(53)),
    Column("interval_low", Float(53)),
    Column("interval_high", Float(53)),
    Column("candidate_answers", BigInteger, nullable=False),
    Column("production_answers", BigInteger, nullable=False),
    Column("users", BigInteger, nullable=False),
    Column("start_us", BigInteger, nullable=False),
    Column("end_us", BigInteger, nullable=False),
    PrimaryKeyConstraint(
        "computed_at_us", "candidate_version", "production_version", "horizon", "value"
    ),
)


#: The tables that an instance describes itself in.
INSTANCE_TABLES = ("tracking", "build", "catalogue", "configuration")


def record_rows(batch: "RecordBatch") -> list[dict[str, Any]]:
    """The rows of `reccom` for the records of a batch, without those whose user was removed.

    Null takes less space than no bytes.
    """
    header = batch.header._asdict()
    return [
        {
            "day": partition_day(record.request_id, record.answered_at_us),
            **header,
            **record._asdict(),
            "recent_events": record.recent_events or None,
        }
        for record in batch.records
        if record.user_id != record_format.FORGOTTEN_USER
    ]


def instance_rows(info: object) -> dict[str, dict[str, Any]]:
    """The row of each table in a description (`describe_instance`) that was read from JSON.

    Raises:
        ValueError: it is none: it lacks its version, a table or a column is unknown, or a value is
            missing or of another type.
    """
    if not isinstance(info, dict) or "tracking" not in info:
        raise ValueError("not a description of an instance")
    return {name: _instance_row(name, row) for name, row in info.items()}


def _instance_row(name: str, row: object) -> dict[str, Any]:
    if name not in INSTANCE_TABLES or not isinstance(row, dict):
        raise ValueError(f"{name} is not a row of a table")
    columns = metadata.tables[name].columns
    if unknown := sorted(row.keys() - set(columns.keys())):
        raise ValueError(f"{name} has an unknown column {unknown[0]}")
    values = dict(row)
    for column in columns:
        value = values.get(column.name)
        type_ = str if isinstance(column.type, LargeBinary) else column.type.python_type
        if value is None and column.nullable:
            continue
        if not isinstance(value, (int, float) if type_ is float else type_):
            raise ValueError(f"{name}.{column.name} is {value!r:.40}")
        if isinstance(column.type, LargeBinary):
            values[column.name] = base64.b64decode(values[column.name], validate=True)
    return values


def partition_day(request_id: str, answered_at_us: int) -> int:
    """The days since 1970 of a request's id; of its answer, for an id without a time."""
    return (request_time_us(request_id) or answered_at_us) // US_PER_DAY


def is_request_id(text: str) -> bool:
    """Whether a text has the form of an id that NGINX or a slot makes."""
    return bool(_WHOLE_NGINX_ID.fullmatch(text) or _SLOT_ID.fullmatch(text))


def request_time_us(request_id: str) -> int | None:
    """The time in an id that NGINX or a slot made, in microseconds since 1970; None without one."""
    if from_nginx := _NGINX_ID.match(request_id):
        return int(from_nginx[1] + from_nginx[2]) * 1000
    if from_slot := _SLOT_ID.fullmatch(request_id):
        return int(from_slot[1], 16) // 1000
    return None
