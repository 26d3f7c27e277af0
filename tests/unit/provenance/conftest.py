"""A spool and a database for each test."""

from pathlib import Path

import pytest

from tests.support.provenance import Environment


@pytest.fixture
def environment(tmp_path: Path, shared_model: Path) -> Environment:
    return Environment(tmp_path, shared_model)
