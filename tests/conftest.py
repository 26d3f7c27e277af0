"""Shared fixtures: a small model with known content and the directory of real input data."""

import os
import signal
from collections.abc import Iterator
from pathlib import Path
from random import Random

import numpy as np
import pytest
from hypothesis import HealthCheck, settings
from xdist.remote import Producer
from xdist.scheduler import LoadScopeScheduling

from app.model.artifact import ModelMetadata, create_array, write_array, write_manifest
from app.model.recommendation_lists import movie_number_dtype, pack_movie_ids

ROOT = Path(__file__).parents[1]
MOVIES = [f"movie+number+{i}+19{i % 90 + 10}" for i in range(60)]
USERS = [7, 42, 1000, 999_999]


#: Directories whose tests share a server or a prepared environment: they run in one process.
SHARING = (
    "tests/integration/auto_deployment",
    "tests/integration/ingest/kafka",
    "tests/integration/provenance",
    "tests/integration/spark",
)


class FileScheduling(LoadScopeScheduling):  # type: ignore[misc]
    """Distribute tests by file, or by directory where they share a server."""

    def _split_scope(self, nodeid: str) -> str:
        file = nodeid.partition("::")[0]
        return next((directory for directory in SHARING if file.startswith(directory)), file)


def pytest_configure() -> None:
    """Choose the seed of generated input, and let started processes be interrupted.

    A shell starts its background commands with SIGINT ignored, which processes inherit. Hypothesis
    would fail tests that take long on a busy machine.
    """
    settings.register_profile(
        "any-machine", deadline=None, suppress_health_check=[HealthCheck.too_slow]
    )
    settings.load_profile("any-machine")
    if signal.getsignal(signal.SIGINT) is signal.SIG_IGN:
        signal.signal(signal.SIGINT, signal.default_int_handler)
    os.environ.setdefault("MARQUEE_TEST_SEED", str(Random().randrange(2**32)))


def pytest_report_header() -> str:
    """Print the seed, with which a run can be repeated."""
    return f"MARQUEE_TEST_SEED={os.environ['MARQUEE_TEST_SEED']}"


def pytest_xdist_auto_num_workers(config: pytest.Config) -> int:
    """Use several processes where directories are selected, none for single files.

    The unit and integration tests wait for a third of their time, so that three processes keep two
    cores busy. The container tests wait for most of it; each process has a stack of its own.
    """
    selected = [config.invocation_params.dir / argument for argument in config.args]
    if any(path.is_dir() for path in selected):
        without_stack = [ROOT / "tests" / name for name in ("unit", "integration")]
        is_without = all(any(path.is_relative_to(p) for p in without_stack) for path in selected)
        return 3 if is_without else 2
    return 0


def pytest_xdist_make_scheduler(config: pytest.Config, log: Producer) -> FileScheduling:
    """Replace the scheduler of `--dist`."""
    return FileScheduling(config, log)


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Begin with the longest groups of tests, so that all processes end at about the same time."""
    items.sort(key=lambda item: not item.nodeid.startswith(SHARING))


@pytest.fixture(scope="session", autouse=True)
def isolated_provenance(tmp_path_factory: pytest.TempPathFactory) -> Iterator[None]:
    """Use a temporary spool and provenance database for the whole test run."""
    directory = tmp_path_factory.mktemp("provenance")
    with pytest.MonkeyPatch.context() as environment:
        environment.setenv("MARQUEE_SPOOL_DIR", str(directory / "spool"))
        environment.setenv("MARQUEE_DATABASE", f"sqlite:///{directory}/provenance.db")
        environment.setenv("MARQUEE_SHIPPER_BIND", "127.0.0.1:0")
        yield


@pytest.fixture(scope="session")
def shared_data() -> Path:
    """Directory of real input data next to the checkout."""
    path = Path(os.environ.get("MARQUEE_SHARED_DATA", ROOT.parent / "shared" / "data"))
    if not path.is_dir():
        pytest.skip(f"no real input data: {path} (set MARQUEE_SHARED_DATA)")
    return path


def write_lists(directory: Path, first_movie: int = 0) -> Path:
    """Write a `lists` artifact: 3 movies for user 7 and 50 for each of the others.

    The list of the n-th user (counted from 0) begins with the movie of number `first_movie` + n.
    """
    lists = directory / "lists"
    lists.mkdir(parents=True)
    dtype = movie_number_dtype(len(MOVIES))
    write_array(lists, "movies", pack_movie_ids(MOVIES))
    write_array(lists, "users", np.array(USERS, np.int64))
    rows = create_array(lists, "lists", dtype, (len(USERS), 50))
    for row, _ in enumerate(USERS):
        rows[row] = np.roll(np.arange(60), -first_movie - row)[:50]
    rows[0, 3:] = len(MOVIES)
    write_array(lists, "popular", np.arange(60)[::-1].astype(dtype))
    write_array(lists, "segment_users", np.array([42, 500], np.int64))
    write_array(lists, "segment_of", np.array([0, 0], np.uint8))
    write_array(lists, "segment_popular", np.arange(10, 60, dtype=dtype)[None, :])
    metadata = ModelMetadata(
        version=3, parameters={"seed": 1}, metrics={}, data={"hash": "d"}, code={}
    )
    write_manifest(lists, "lists", users=len(USERS), movies=len(MOVIES), metadata=metadata)
    return directory


@pytest.fixture
def model(tmp_path: Path) -> Path:
    """A new model directory, which the test may modify."""
    return write_lists(tmp_path / "model")


@pytest.fixture(scope="session")
def shared_model(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A model directory for tests that only read it."""
    return write_lists(tmp_path_factory.mktemp("model") / "model")
