"""Upkeep of the partitions by the database's own clock, with a retention that its owner sets.

The procedure of 0001 took the day and the retention as arguments, with which the recording user
could drop every partition. It keeps its name and its arguments for the version before, and ignores
them.
"""

import importlib

import sqlalchemy as sa
from alembic import op

revision = "0003"
down_revision = "0002"

#: The upkeep on a day. It runs with the rights of its caller: only the owner of the tables may call
#: it, or `reccom_upkeep`, which runs as the owner.
#:
#: A day before the last one, or more than 3 days after it, is a jump: of a clock, or after the
#: stack was stopped. Nothing is dropped in the 7 days from then on, and no partitions are created
#: that are far from the present ones: rows go to `later`, which is divided afterwards. So a clock
#: that is wrong for less than 7 days costs no row.
_UPKEEP_AT = """
CREATE OR REPLACE PROCEDURE reccom_upkeep_at(IN today INT)
SQL SECURITY INVOKER
BEGIN
  DECLARE days, checked, resume, newest, oldest INT;
  SELECT retention_days, checked_day, resume_day INTO days, checked, resume
    FROM upkeep WHERE id = 1;
  IF today < checked OR today > checked + 3 THEN
    SET resume = today + 7;
  END IF;
  UPDATE upkeep SET checked_day = today, resume_day = resume WHERE id = 1;
  SELECT MAX(CAST(SUBSTRING(partition_name, 2) AS INT)) INTO newest
    FROM information_schema.partitions
    WHERE table_schema = DATABASE() AND table_name = 'reccom' AND partition_name LIKE 'd%';
  IF newest IS NULL OR today <= newest + 7 OR resume <= today THEN
    SELECT MIN(day) INTO oldest FROM reccom PARTITION (later);
    SET newest = GREATEST(COALESCE(newest, 0),
      LEAST(today, GREATEST(COALESCE(oldest, today), today - 14)) - 1);
    WHILE newest < today + 3 DO
      SET newest = newest + 1;
      EXECUTE IMMEDIATE CONCAT('ALTER TABLE reccom REORGANIZE PARTITION later INTO (',
        'PARTITION d', newest, ' VALUES LESS THAN (', newest + 1, '), ',
        'PARTITION later VALUES LESS THAN MAXVALUE)');
    END WHILE;
  END IF;
  IF resume <= today THEN
    FOR old IN (SELECT partition_name AS name FROM information_schema.partitions
        WHERE table_schema = DATABASE() AND table_name = 'reccom' AND partition_name LIKE 'd%'
          AND CAST(SUBSTRING(partition_name, 2) AS INT) < today - days) DO
      EXECUTE IMMEDIATE CONCAT('ALTER TABLE reccom DROP PARTITION ', old.name);
    END FOR;
  END IF;
END
"""

#: SYSDATE is the server's clock; a session can set what NOW and CURRENT_DATE return.
_UPKEEP = """
CREATE OR REPLACE PROCEDURE reccom_upkeep()
SQL SECURITY DEFINER
BEGIN
  CALL reccom_upkeep_at(FLOOR(UNIX_TIMESTAMP(SYSDATE()) / 86400));
END
"""
_OLD_UPKEEP = """
CREATE OR REPLACE PROCEDURE reccom_maintain_partitions(IN today INT, IN retention_days INT)
SQL SECURITY DEFINER
BEGIN
  CALL reccom_upkeep();
END
"""
#: The state where `marquee migrate` has not set the retention yet, and nothing was checked.
_INSERT_STATE_SQLITE = "INSERT OR IGNORE INTO upkeep VALUES (1, 90, NULL, 0)"
#: The last upkeep of the procedure before has created partitions for the three days after it.
_INSERT_STATE_MYSQL = """
INSERT IGNORE INTO upkeep
SELECT 1, 90, MAX(CAST(SUBSTRING(partition_name, 2) AS INT)) - 3, 0
  FROM information_schema.partitions
  WHERE table_schema = DATABASE() AND table_name = 'reccom' AND partition_name LIKE 'd%'
"""


def upgrade() -> None:
    """Create the table of the upkeep's state, and in MariaDB its procedures."""
    context = op.get_context()
    if context.as_sql or not sa.inspect(op.get_bind()).has_table("upkeep"):
        op.create_table(
            "upkeep",
            sa.Column("id", sa.Integer, primary_key=True, autoincrement=False),
            sa.Column("retention_days", sa.Integer, nullable=False),
            sa.Column("checked_day", sa.Integer),
            sa.Column("resume_day", sa.Integer, nullable=False),
        )
    in_mysql = context.dialect.name == "mysql"
    op.execute(_INSERT_STATE_MYSQL if in_mysql else _INSERT_STATE_SQLITE)
    if in_mysql:
        for statement in (_UPKEEP_AT, _UPKEEP, _OLD_UPKEEP):
            op.execute(statement)


def downgrade() -> None:
    """Drop the state, and restore the procedure of 0001."""
    op.drop_table("upkeep")
    if op.get_context().dialect.name == "mysql":
        op.execute("DROP PROCEDURE reccom_upkeep")
        op.execute("DROP PROCEDURE reccom_upkeep_at")
        first = importlib.import_module("app.provenance.migrations.versions.0001_tables")
        op.execute(first._MAINTAIN_PARTITIONS)
