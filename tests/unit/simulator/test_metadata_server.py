"""Asked over HTTP, as the enricher does."""

from collections.abc import Iterator
from contextlib import contextmanager
from threading import Thread

import pytest
import requests

from app.simulator.metadata_server import InformationServer
from app.simulator.rate_limit import RateLimit
from tests.unit.simulator.environments import world

WORLD = world(movies=700)
KEYS = {
    "id", "tmdb_id", "imdb_id", "title", "adult", "belongs_to_collection", "budget", "genres",
    "original_language", "overview", "popularity", "release_date", "revenue", "runtime",
    "spoken_languages", "status", "vote_average", "vote_count",
}  # fmt: skip


@contextmanager
def listening(rate: float) -> Iterator[str]:
    with InformationServer("127.0.0.1:0", WORLD, rate) as server:
        thread = Thread(target=server.serve_forever)
        thread.start()
        try:
            yield f"http://127.0.0.1:{server.server_port}"
        finally:
            server.shutdown()
            thread.join()


@pytest.fixture(scope="module")
def url() -> Iterator[str]:
    with listening(rate=10_000) as address:
        yield address


def test_a_user_is_told_as_the_contract_has_it(url: str) -> None:
    answer = requests.get(f"{url}/user/6921", timeout=5)
    assert answer.headers["Content-Type"] == "application/json"
    user = answer.json()
    assert set(user) == {"user_id", "age", "occupation", "gender"}
    assert user["user_id"] == 6921
    assert 13 <= user["age"] <= 90
    assert user["gender"] in ("M", "F")
    assert requests.get(f"{url}/user/6921", timeout=5).json() == user


@pytest.mark.parametrize("number", [0, 650, 700])
def test_a_movie_has_24_keys_of_the_contracts_types(url: str, number: int) -> None:
    name = WORLD.movies.ids[number]
    movie = requests.get(f"{url}/movie/{name}", timeout=5).json()
    assert len(movie) == 24
    assert set(movie) >= KEYS
    assert movie["id"] == name
    assert movie["runtime"] == WORLD.movies.lengths[number]
    assert isinstance(movie["tmdb_id"], int)
    assert movie["adult"] in ("True", "False")
    assert all(isinstance(movie[k], str) for k in ("budget", "popularity", "vote_average"))
    assert all(set(genre) == {"id", "name"} for genre in movie["genres"])


def test_up_to_200_are_told_at_once_and_unknown_ones_left_out(url: str) -> None:
    ids = ",".join(map(str, range(1, 200)))
    found = requests.get(f"{url}/user/{ids},0", timeout=5).json()
    assert [user["user_id"] for user in found] == list(range(1, 200))
    movies = [WORLD.movies.ids[1], "no+such+movie+1999", WORLD.movies.ids[0]]
    answer = requests.get(f"{url}/movie/{','.join(movies)}", timeout=5)
    assert [movie["id"] for movie in answer.json()] == [movies[0], movies[2]]
    assert requests.get(f"{url}/user/{ids},200,201", timeout=5).status_code == 400


@pytest.mark.parametrize(
    "path", ["/user/0", "/user/1000001", "/user/abc", "/user/", "/movie/x", "/", "/user/%FF"]
)
def test_what_is_not_there_is_a_problem(url: str, path: str) -> None:
    answer = requests.get(url + path, timeout=5)
    assert answer.status_code == 404
    assert answer.headers["Content-Type"] == "application/problem+json"
    assert answer.json()["status"] == 404


def test_who_asks_too_often_is_told_when_to_come_again() -> None:
    with listening(rate=2) as url:
        answers = [requests.get(f"{url}/user/7", timeout=5) for _ in range(10)]
        refused = [answer for answer in answers if answer.status_code == 429]
        assert len(refused) >= 4
        assert refused[0].headers["Retry-After"] == "1"
        metrics = requests.get(f"{url}/metrics", timeout=5).text
    assert 'marquee_metadata_api_responses_total{kind="user",status="429"}' in metrics


def test_the_limit_fills_up_with_time_and_is_each_clients_own() -> None:
    now = [0.0]
    limit = RateLimit(2, clock=lambda: now[0])
    assert [limit.wait("a") for _ in range(5)] == [0, 0, 0, 0, 0.5]
    assert limit.wait("b") == 0
    now[0] = 0.5
    assert [limit.wait("a") for _ in range(2)] == [0, 0.5]
