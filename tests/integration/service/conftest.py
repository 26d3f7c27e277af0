"""A running service for the tests of each module."""

from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.support.service import Server, serving


@pytest.fixture(scope="module")
def server(shared_model: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    with serving(shared_model, tmp_path_factory.mktemp("server")) as running:
        yield running
