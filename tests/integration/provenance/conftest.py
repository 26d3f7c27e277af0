"""One real MariaDB for all tests of this directory, emptied before each; or a reason to skip."""

import json
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.support.mariadb import Database, running_database, skip_reason


@pytest.fixture(scope="session")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Database]:
    if reason := skip_reason():
        pytest.skip(f"a real MariaDB: {reason}")
    with running_database(tmp_path_factory.mktemp("mariadb")) as database:
        yield database


@pytest.fixture
def mariadb(server: Database) -> Database:
    """The real database with empty tables."""
    server.clear()
    return server


def read_log(log: Path) -> list[dict[str, object]]:
    """The structured lines in a process's log."""
    return [json.loads(line) for line in log.read_text().splitlines() if line.startswith("{")]
