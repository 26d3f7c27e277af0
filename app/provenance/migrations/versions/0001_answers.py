"""Answers, versions, builds and catalogues; in MariaDB a partition a day, and its upkeep."""

import sqlalchemy as sa
from alembic import op
from sqlalchemy.dialects.mysql import LONGBLOB, VARBINARY, VARCHAR

revision = "0001"
down_revision = None

#: Makes partitions for the coming days and drops those older than `keep` days. The recording user
#: may call it and has no other way to remove anything. The first day that is given a partition is
#: the day of the call; what is older or further off has a partition of its own at either end.
_UPKEEP = """
CREATE OR REPLACE PROCEDURE reccom_upkeep(IN today INT, IN keep INT)
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
        AND CAST(SUBSTRING(partition_name, 2) AS INT) < today - GREATEST(keep, 1)) DO
    EXECUTE IMMEDIATE CONCAT('ALTER TABLE reccom DROP PARTITION ', old.name);
  END FOR;
END
"""


def _ascii(length: int) -> sa.String:
    mysql = VARCHAR(length, charset="ascii", collation="ascii_bin")
    return sa.String(length).with_variant(mysql, "mysql")


def upgrade() -> None:
    """Make the tables."""
    _make_reccom()
    op.create_table(
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
    op.create_table(
        "build",
        sa.Column("build_id", _ascii(72), primary_key=True),
        sa.Column("version_number", sa.Integer, nullable=False),
        sa.Column("model_hash", _ascii(64), nullable=False),
        sa.Column("git_commit", _ascii(64), nullable=False),
        sa.Column("image_digest", _ascii(80), nullable=False),
    )
    op.create_table(
        "catalogue",
        sa.Column("model_hash", _ascii(64), primary_key=True),
        sa.Column("movies", sa.Integer, nullable=False),
        sa.Column("names", sa.LargeBinary().with_variant(LONGBLOB(), "mysql"), nullable=False),
    )


def _make_reccom() -> None:
    op.create_table(
        "reccom",
        sa.Column("day", sa.Integer, primary_key=True, autoincrement=False),
        sa.Column("request_id", _ascii(64), primary_key=True),
        sa.Column("slot", _ascii(40), primary_key=True),
        sa.Column("version_number", sa.Integer, nullable=False),
        sa.Column("user_id", sa.BigInteger, nullable=False),
        sa.Column("time", sa.BigInteger, nullable=False),
        sa.Column("source", _ascii(8), nullable=False),
        sa.Column("took", sa.BigInteger, nullable=False),
        sa.Column("given_up", sa.Boolean(create_constraint=False), nullable=False),
        sa.Column("asked_again", sa.Boolean(create_constraint=False), nullable=False),
        sa.Column("build_id", _ascii(72), nullable=False),
        sa.Column("movies", sa.LargeBinary().with_variant(VARBINARY(200), "mysql"), nullable=False),
        sa.Index("reccom_user", "user_id", "time"),
        sa.Index("reccom_version", "version_number"),
        sqlite_with_rowid=False,
        mysql_engine="InnoDB",
    )
    if op.get_bind().dialect.name == "mysql":
        op.execute(
            "ALTER TABLE reccom PARTITION BY RANGE (day) "
            "(PARTITION later VALUES LESS THAN MAXVALUE)"
        )
        op.get_bind().exec_driver_sql(_UPKEEP)


def downgrade() -> None:
    """Remove everything that was recorded."""
    if op.get_bind().dialect.name == "mysql":
        op.execute("DROP PROCEDURE reccom_upkeep")
    for table in ("reccom", "tracking", "build", "catalogue"):
        op.drop_table(table)
