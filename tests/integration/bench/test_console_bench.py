"""The history that the bench of the console writes has the form of what the product stores."""

from pathlib import Path

import sqlalchemy as sa

from app.provenance.tables import quality
from bench.console import VERSIONS, write_database


def test_a_history_is_written(tmp_path: Path) -> None:
    write_database(tmp_path, 300)
    (database,) = tmp_path.rglob("*.db")
    with sa.create_engine(f"sqlite:///{database}").connect() as connection:
        pairs = sa.select(sa.func.count(quality.c.candidate_version.distinct()))
        assert connection.execute(pairs).scalar_one() == len(VERSIONS)
