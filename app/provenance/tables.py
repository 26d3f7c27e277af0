"""The tables of provenance, for SQLite and MariaDB alike. `docs/provenance.md` describes them."""

from sqlalchemy import (
    BigInteger,
    Boolean,
    Column,
    Float,
    Index,
    Integer,
    LargeBinary,
    MetaData,
    String,
    Table,
    Text,
)
from sqlalchemy.dialects.mysql import LONGBLOB, VARBINARY, VARCHAR

metadata = MetaData()


def _ascii(length: int) -> String:
    """Text that is ASCII by its form: a byte a character, compared byte by byte."""
    return String(length).with_variant(
        VARCHAR(length, charset="ascii", collation="ascii_bin"), "mysql"
    )


#: One row an answer. The day is that of the request id, so that the same request at the same slot
#: is the same row whenever its record arrives; MariaDB has a partition a day.
reccom = Table(
    "reccom",
    metadata,
    Column("day", Integer, primary_key=True, autoincrement=False),
    Column("request_id", _ascii(64), primary_key=True),
    Column("slot", _ascii(40), primary_key=True),
    Column("version_number", Integer, nullable=False),
    Column("user_id", BigInteger, nullable=False),
    Column("time", BigInteger, nullable=False),
    Column("source", _ascii(8), nullable=False),
    Column("took", BigInteger, nullable=False),
    Column("given_up", Boolean(create_constraint=False), nullable=False),
    Column("asked_again", Boolean(create_constraint=False), nullable=False),
    Column("build_id", _ascii(72), nullable=False),
    Column("movies", LargeBinary().with_variant(VARBINARY(200), "mysql"), nullable=False),
    Index("reccom_user", "user_id", "time"),
    Index("reccom_version", "version_number"),
    sqlite_with_rowid=False,
)

#: One row a version: the data and the model.
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

#: One row an image: the code, and which model is in it.
build = Table(
    "build",
    metadata,
    Column("build_id", _ascii(72), primary_key=True),
    Column("version_number", Integer, nullable=False),
    Column("model_hash", _ascii(64), nullable=False),
    Column("git_commit", _ascii(64), nullable=False),
    Column("image_digest", _ascii(80), nullable=False),
)

#: One row a model: what its movie numbers mean, so that an old answer can still be read.
catalogue = Table(
    "catalogue",
    metadata,
    Column("model_hash", _ascii(64), primary_key=True),
    Column("movies", Integer, nullable=False),
    Column("names", LargeBinary().with_variant(LONGBLOB(), "mysql"), nullable=False),
)
