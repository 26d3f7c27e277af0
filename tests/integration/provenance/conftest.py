"""One real MariaDB for the suite, emptied for each test; skipped with its reason."""

import json
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.support.mariadb import Database, running, why_not


@pytest.fixture(scope="session")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Database]:
    if reason := why_not():
        pytest.skip(f"a real MariaDB: {reason}")
    with running(tmp_path_factory.mktemp("mariadb")) as database:
        yield database


@pytest.fixture
def mariadb(server: Database) -> Database:
    """The real database, empty."""
    server.clear()
    return server


def lines_of(log: Path) -> list[dict[str, object]]:
    """A process's log lines."""
    return [json.loads(line) for line in log.read_text().splitlines() if line.startswith("{")]
