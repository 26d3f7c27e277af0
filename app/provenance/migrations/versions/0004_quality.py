"""The table of the online quality of versions, which `marquee quality --save` fills."""

import sqlalchemy as sa
from alembic import op
from sqlalchemy.dialects.mysql import VARCHAR

revision = "0004"
down_revision = "0003"

_KEY = ("computed_at_us", "candidate_version", "production_version", "horizon", "value")


def _ascii(length: int) -> sa.String:
    mysql = VARCHAR(length, charset="ascii", collation="ascii_bin")
    return sa.String(length).with_variant(mysql, "mysql")


def upgrade() -> None:
    """Create the table."""
    if not op.get_context().as_sql and sa.inspect(op.get_bind()).has_table("quality"):
        return
    op.create_table(
        "quality",
        sa.Column("computed_at_us", sa.BigInteger, nullable=False, autoincrement=False),
        sa.Column("candidate_version", sa.Integer, nullable=False, autoincrement=False),
        sa.Column("production_version", sa.Integer, nullable=False, autoincrement=False),
        sa.Column("horizon", _ascii(8), nullable=False),
        sa.Column("value", _ascii(16), nullable=False),
        sa.Column("candidate", sa.Float(53), nullable=False),
        sa.Column("production", sa.Float(53), nullable=False),
        sa.Column("difference", sa.Float(53), nullable=False),
        sa.Column("standard_error", sa.Float(53)),
        sa.Column("interval_low", sa.Float(53)),
        sa.Column("interval_high", sa.Float(53)),
        sa.Column("candidate_answers", sa.BigInteger, nullable=False),
        sa.Column("production_answers", sa.BigInteger, nullable=False),
        sa.Column("users", sa.BigInteger, nullable=False),
        sa.Column("start_us", sa.BigInteger, nullable=False),
        sa.Column("end_us", sa.BigInteger, nullable=False),
        sa.PrimaryKeyConstraint(*_KEY),
    )


def downgrade() -> None:
    """Drop it with what it holds."""
    op.drop_table("quality")
