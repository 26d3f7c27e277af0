"""Create the tables; in MariaDB, daily partitions and the procedure that maintains them.

Neither database rolls a created table back. So each step is left out where an interrupted run has
made it already, and the next run completes the schema.
"""

from typing import Any

import sqlalchemy as sa
from alembic import op
from sqlalchemy.dialects.mysql import LONGBLOB, VARBINARY, VARCHAR

revision = "0001"
down_revision = None

#: Creates partitions for the coming three days and drops those older than `retention_days`. It runs
#: as the tables' owner; the shipper's user may call it and cannot delete rows in any other way.
#: The first day with a partition of its own is that of the first call: older rows lie in that
#: partition, and rows of days without one in the partition `later`.
_MAINTAIN_PARTITIONS = """
CREATE OR REPLACE PROCEDURE reccom_maintain_partitions(IN today INT, IN retention_days INT)
SQL SECURITY DEFINER
BEGIN
  DECLARE newest INT;
  SELECT COALESCE(MAX(CAST(SUBSTRING(partition_name, 2) AS INT)), today - 1) INTO newest
    FROM information_schema.partitions
    WHERE table_schema = DATABASE() AND table_name = 'reccom' AND partition_name LIKE 'd%';
  SET newest = GREATEST(newest, today - 1);
  WHILE newest < today + 3 DO
    SET newest = newest + 1;
    EXECUTE IMMEDIATE CONCAT('ALTER TABLE reccom REORGANIZE PARTITION later INTO (',
      'PARTITION d', newest, ' VALUES LESS THAN (', newest + 1, '), ',
      'PARTITION later VALUES LESS THAN MAXVALUE)');
  END WHILE;
  FOR old IN (SELECT partition_name AS name FROM information_schema.partitions
      WHERE table_schema = DATABASE() AND table_name = 'reccom' AND partition_name LIKE 'd%'
        AND CAST(SUBSTRING(partition_name, 2) AS INT) < today - GREATEST(retention_days, 1)) DO
    EXECUTE IMMEDIATE CONCAT('ALTER TABLE reccom DROP PARTITION ', old.name);
  END FOR;
END
"""


def _ascii(length: int) -> sa.String:
    mysql = VARCHAR(length, charset="ascii", collation="ascii_bin")
    return sa.String(length).with_variant(mysql, "mysql")


def upgrade() -> None:
    """Create the tables."""
    _create_reccom()
    _create_table(
        "tracking",
        sa.Column("version_number", sa.Integer, primary_key=True, autoincrement=False),
        sa.Column("data_creation", sa.String(40)),
        sa.Column("trained_on", sa.String(40)),
        sa.Column("model_rmse", sa.Float(53)),
        sa.Column("ranking_metrics", sa.Text),
        sa.Column("data_hash", _ascii(64)),
        sa.Column("model_hash", _ascii(64)),
        sa.Column("trained_by_commit", _ascii(64)),
        sa.Column("libraries", sa.Text),
        sa.Column("parameters", sa.Text),
    )
    _create_table(
        "build",
        sa.Column("build_id", _ascii(72), primary_key=True),
        sa.Column("version_number", sa.Integer, nullable=False),
        sa.Column("model_hash", _ascii(64), nullable=False),
        sa.Column("git_commit", _ascii(64), nullable=False),
        sa.Column("image_digest", _ascii(80), nullable=False),
    )
    _create_table(
        "catalogue",
        sa.Column("model_hash", _ascii(64), primary_key=True),
        sa.Column("movie_count", sa.Integer, nullable=False),
        sa.Column("movie_ids", sa.LargeBinary().with_variant(LONGBLOB(), "mysql"), nullable=False),
    )


def _create_reccom() -> None:
    _create_table(
        "reccom",
        sa.Column("day", sa.Integer, nullable=False, autoincrement=False),
        sa.Column("slot", _ascii(40), nullable=False),
        sa.Column("version_number", sa.Integer, nullable=False),
        sa.Column("build_id", _ascii(72), nullable=False),
        sa.Column("request_id", _ascii(64), nullable=False),
        sa.Column("answered_at_us", sa.BigInteger, nullable=False),
        sa.Column("user_id", sa.BigInteger, nullable=False),
        sa.Column("source", _ascii(8), nullable=False),
        sa.Column("duration_us", sa.BigInteger, nullable=False),
        sa.Column("client_gone", sa.Boolean(create_constraint=False), nullable=False),
        sa.Column("is_retry", sa.Boolean(create_constraint=False), nullable=False),
        sa.Column(
            "movie_numbers",
            sa.LargeBinary().with_variant(VARBINARY(200), "mysql"),
            nullable=False,
        ),
        sa.PrimaryKeyConstraint("day", "request_id", "slot"),
        sqlite_with_rowid=False,
    )
    _create_index("reccom_user", "reccom", ["user_id", "answered_at_us"])
    _create_index("reccom_version", "reccom", ["version_number"])
    if op.get_context().dialect.name == "mysql":
        if not _is_partitioned("reccom"):
            op.execute(
                "ALTER TABLE reccom PARTITION BY RANGE (day) "
                "(PARTITION later VALUES LESS THAN MAXVALUE)"
            )
        op.execute(_MAINTAIN_PARTITIONS)


def _inspect() -> sa.Inspector | None:
    """The database as it is; None where the migration is only written as SQL."""
    return None if op.get_context().as_sql else sa.inspect(op.get_bind())


def _create_table(name: str, *columns: sa.schema.SchemaItem, **options: Any) -> None:
    found = _inspect()
    if found is None or not found.has_table(name):
        op.create_table(name, *columns, **options)


def _create_index(name: str, table: str, columns: list[str]) -> None:
    found = _inspect()
    if found is None or name not in {index["name"] for index in found.get_indexes(table)}:
        op.create_index(name, table, columns)


def _is_partitioned(table: str) -> bool:
    query = sa.text(
        "SELECT count(*) FROM information_schema.partitions WHERE table_schema = DATABASE() "
        "AND table_name = :name AND partition_name IS NOT NULL"
    )
    offline = op.get_context().as_sql
    return not offline and bool(op.get_bind().scalar(query, {"name": table}))


def downgrade() -> None:
    """Drop the tables with all records."""
    if op.get_context().dialect.name == "mysql":
        op.execute("DROP PROCEDURE reccom_maintain_partitions")
    for table in ("reccom", "tracking", "build", "catalogue"):
        op.drop_table(table)
