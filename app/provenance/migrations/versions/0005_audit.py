"""The table of the console's orders, which the shipper fills."""

import sqlalchemy as sa
from alembic import op
from sqlalchemy.dialects.mysql import VARCHAR

revision = "0005"
down_revision = "0004"


def _ascii(length: int) -> sa.String:
    mysql = VARCHAR(length, charset="ascii", collation="ascii_bin")
    return sa.String(length).with_variant(mysql, "mysql")


def upgrade() -> None:
    """Create the table."""
    if not op.get_context().as_sql and sa.inspect(op.get_bind()).has_table("audit"):
        return
    op.create_table(
        "audit",
        sa.Column("order_id", _ascii(19), nullable=False),
        sa.Column("outcome", _ascii(16), nullable=False),
        sa.Column("recorded_at_us", sa.BigInteger, nullable=False),
        sa.Column("action", sa.String(100), nullable=False),
        sa.Column("release_id", sa.String(100), nullable=False),
        sa.Column("detail", sa.Text, nullable=False),
        sa.Column("address", sa.String(100), nullable=False),
        sa.PrimaryKeyConstraint("order_id", "outcome"),
    )


def downgrade() -> None:
    """Drop it with what it holds."""
    op.drop_table("audit")
