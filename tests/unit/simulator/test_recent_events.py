"""A simulation whose recommendations depend on what was watched in it."""

from pathlib import Path

import pytest

from app.simulator.driver import ModelClient, SimulationError
from tests.conftest import MOVIES, write_lists
from tests.support.recent import NEWEST_SECONDS, add_recent_parts
from tests.support.simulator import make_simulation

NOW = NEWEST_SECONDS + 3600


@pytest.fixture(scope="module")
def model(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return add_recent_parts(write_lists(tmp_path_factory.mktemp("recent") / "model"))


def test_responses_depend_on_what_was_watched(model: Path) -> None:
    simulation, _ = make_simulation()
    arrival = next(simulation.arrivals(1))._replace(user_id=900)
    client = ModelClient(model, uses_recent=True)
    before = client.fetch(arrival, NOW)
    client.add_event(900, "a+movie+that+the+model+lacks+1999", 5, None, NOW - 2)
    assert client.fetch(arrival, NOW) == before
    client.add_event(900, MOVIES[40], 50, None, NOW - 3000)
    client.add_event(900, MOVIES[20], 60, None, NOW - 1)
    after = client.fetch(arrival, NOW)
    assert after.movies[0] == MOVIES[21]
    assert {MOVIES[22], MOVIES[41]} < {*after.movies[:4]}
    assert not {MOVIES[20], MOVIES[40]} & {*after.movies}
    for movie in MOVIES[:50]:
        client.add_event(900, movie, 60, None, NOW)
    assert len(client._events[900]) == 50
    assert sorted(client.fetch(arrival, NOW).movies) == MOVIES[50:]  # beside the last 16, 34 others


def test_each_minute_and_each_rating_is_reported() -> None:
    simulation, sink = make_simulation()
    reported = []
    sessions = simulation.watch_sessions
    sessions.on_event = lambda *event: reported.append(event)
    sessions.start(5, 7, "up+2009", 3, 4)
    sessions.start(6, 8, "alien+1979", 1, None)
    sessions.advance(400)
    assert reported == [
        (7, "up+2009", 1, None, 5),
        (8, "alien+1979", 1, None, 6),
        (7, "up+2009", 2, None, 65),
        (7, "up+2009", 3, None, 125),
        (7, "up+2009", 3, 4, 185),
    ]
    assert len([label for label, _ in sink.lines if label == "watches"]) == 4


def test_a_model_without_the_parts_is_refused(shared_model: Path) -> None:
    with pytest.raises(SimulationError, match="lacks the parts for recent events"):
        ModelClient(shared_model, uses_recent=True)
