"""How often movies were recommended: counted once, in files, and again where records came late."""

from pathlib import Path

import pytest
import sqlalchemy as sa

from app.console.exposure import Exposure, ExposureSpan, MovieExposure
from app.console.sources import SourceError
from app.provenance.database import connect, connect_reader
from app.provenance.tables import US_PER_DAY, reccom
from tests.conftest import MOVIES
from tests.support.provenance import NOW_US, Environment, encoded

HOUR_US = 3_600_000_000


@pytest.fixture
def environment(tmp_path: Path, shared_model: Path) -> Environment:
    """An empty database."""
    environment = Environment(tmp_path, shared_model)
    environment.engine()
    return environment


class Clock:
    """A quarter of an hour after the records, until a test changes it."""

    now_us = NOW_US + HOUR_US // 4

    def __call__(self) -> int:
        return self.now_us * 1000


def record(environment: Environment, numbers: range, movies: bytes = bytes([1, 0, 2, 0])) -> None:
    writer = environment.writer()
    for number in numbers:
        writer.append(encoded(number, movie_numbers=movies))
    environment.shipper(environment.engine()).ship()


def open_exposure(environment: Environment, clock: Clock | None = None) -> Exposure:
    directory = environment.spool.parent / "console"
    return Exposure(connect_reader(environment.settings), directory, clock or Clock())


def test_each_answer_is_counted_once(environment: Environment) -> None:
    record(environment, range(5))
    exposure = open_exposure(environment)
    assert exposure.refresh().responses == 5
    record(environment, range(5, 7), bytes([2, 0]))
    for _ in range(3):
        day = NOW_US // US_PER_DAY
        assert exposure.refresh() == ExposureSpan(day, day, 7)
    assert exposure.find_movie(MOVIES[1]) == [MovieExposure(3, 7, 5)]
    assert exposure.find_movie(MOVIES[2]) == [MovieExposure(3, 7, 7)]
    assert exposure.find_movie(MOVIES[9]) == [MovieExposure(3, 7, 0)]
    assert exposure.find_movie("unknown+1999") == []
    assert exposure.find_movie(MOVIES[1])[0].share == 5 / 7


def test_a_restart_continues_from_the_files(environment: Environment) -> None:
    record(environment, range(5))
    open_exposure(environment).refresh()
    record(environment, range(5, 6))
    restarted = open_exposure(environment)
    assert restarted.refresh().responses == 6
    assert restarted.find_movie(MOVIES[1]) == [MovieExposure(3, 6, 6)]


def test_a_damaged_file_is_counted_again(environment: Environment) -> None:
    record(environment, range(5))
    open_exposure(environment).refresh()
    (file,) = (environment.spool.parent / "console").glob("*.npz")
    whole = file.read_bytes()
    for damaged in (b"", b"PK\x03\x04", whole[: len(whole) // 2], b"x" * 100):
        file.write_bytes(damaged)
        assert open_exposure(environment).refresh().responses == 5


def test_records_that_came_late_are_counted_after_the_end_of_their_day(
    environment: Environment,
) -> None:
    record(environment, range(5, 10))
    clock = Clock()
    exposure = open_exposure(environment, clock)
    assert exposure.refresh().responses == 5
    record(environment, range(5))
    assert exposure.refresh().responses == 5
    end_of_day = (NOW_US // US_PER_DAY + 1) * US_PER_DAY
    clock.now_us = end_of_day + 2 * HOUR_US
    exposure.refresh()  # finds that the numbers differ
    assert exposure.refresh().responses == 10
    assert exposure.find_movie(MOVIES[1]) == [MovieExposure(3, 10, 10)]


def test_days_of_more_than_a_month_ago_are_forgotten(
    environment: Environment,
) -> None:
    record(environment, range(5))
    clock = Clock()
    exposure = open_exposure(environment, clock)
    exposure.refresh()
    clock.now_us = NOW_US + 32 * US_PER_DAY
    assert exposure.refresh() == ExposureSpan(None, None, 0)
    assert not list((environment.spool.parent / "console").iterdir())


def test_answers_of_a_build_that_is_not_described_are_no_error(environment: Environment) -> None:
    record(environment, range(5))
    with connect(environment.settings).begin() as connection:
        connection.execute(sa.update(reccom).values(build_id="unknown-build"))
    exposure = open_exposure(environment)
    assert exposure.refresh().responses == 5
    assert exposure.find_movie(MOVIES[1]) == []


def test_the_consoles_connection_cannot_write(environment: Environment) -> None:
    engine = connect_reader(environment.settings)
    with pytest.raises(sa.exc.OperationalError, match="readonly"), engine.begin() as connection:
        connection.execute(sa.delete(reccom))


def test_a_database_that_is_away_is_not_created(tmp_path: Path, shared_model: Path) -> None:
    environment = Environment(tmp_path / "missing", shared_model)
    with pytest.raises(SourceError, match="the database does not respond: unable to open"):
        open_exposure(environment).refresh()
    assert not (tmp_path / "missing").exists()
