"""Add what a list can be made again from: recent events, hidden movies, length, end of the data.

The version before inserts rows without the new columns, so that they may be null. At the end of the
table MariaDB adds them without copying it.

As in 0001, each step is left out where an interrupted run has made it already.
"""

import sqlalchemy as sa
from alembic import op
from sqlalchemy.dialects.mysql import MEDIUMTEXT, VARBINARY, VARCHAR

revision = "0002"
down_revision = "0001"


def _ascii(length: int) -> sa.String:
    mysql = VARCHAR(length, charset="ascii", collation="ascii_bin")
    return sa.String(length).with_variant(mysql, "mysql")


def upgrade() -> None:
    """Add the table `configuration`, and two columns to `reccom`."""
    found = None if op.get_context().as_sql else sa.inspect(op.get_bind())
    if found is None or not found.has_table("configuration"):
        hidden_type = sa.Text().with_variant(MEDIUMTEXT(), "mysql")
        op.create_table(
            "configuration",
            sa.Column("configuration_id", sa.BigInteger, primary_key=True, autoincrement=False),
            sa.Column("model_hash", _ascii(64), nullable=False),
            sa.Column("list_length", sa.Integer, nullable=False),
            sa.Column("hidden_movies", hidden_type, nullable=False),
            sa.Column("data_newest", sa.String(40)),
        )
    present = {column["name"] for column in found.get_columns("reccom")} if found else set()
    packed = sa.LargeBinary().with_variant(VARBINARY(128), "mysql")
    for name, type_ in (("configuration_id", sa.BigInteger()), ("recent_events", packed)):
        if name not in present:
            op.add_column("reccom", sa.Column(name, type_))


def downgrade() -> None:
    """Drop them with what they hold."""
    op.drop_column("reccom", "recent_events")
    op.drop_column("reccom", "configuration_id")
    op.drop_table("configuration")
