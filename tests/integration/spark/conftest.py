"""A Spark cluster of two workers for the tests of this directory."""

from collections.abc import Iterator

import pytest

from tests.support.soak import IS_SOAK
from tests.support.spark import StandaloneCluster, find_missing


@pytest.fixture(scope="session")
def spark(tmp_path_factory: pytest.TempPathFactory) -> Iterator[StandaloneCluster]:
    """A cluster that is shared by all tests; one of them kills a worker and starts another."""
    if not IS_SOAK:
        pytest.skip("a long form: make test-spark, or make soak PART=spark")
    if missing := find_missing():
        pytest.skip(missing)
    cluster = StandaloneCluster(tmp_path_factory.mktemp("spark"))
    try:
        cluster.start()
        yield cluster
    finally:
        cluster.stop()
