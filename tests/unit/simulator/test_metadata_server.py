"""The metadata API over HTTP, as `marquee enrich` uses it."""

from collections.abc import Iterator
from contextlib import contextmanager

import pytest
import requests

from app.http_server import BackgroundServer
from app.simulator.metadata_server import RateLimiter, create_metadata_app
from tests.support.simulator import make_environment

ENVIRONMENT = make_environment(movies=700)
REQUIRED_KEYS = {
    "id", "tmdb_id", "imdb_id", "title", "adult", "belongs_to_collection", "budget", "genres",
    "original_language", "overview", "popularity", "release_date", "revenue", "runtime",
    "spoken_languages", "status", "vote_average", "vote_count",
}  # fmt: skip


@contextmanager
def serving(max_requests_per_second: float) -> Iterator[str]:
    app = create_metadata_app(ENVIRONMENT, max_requests_per_second)
    server = BackgroundServer("127.0.0.1:0", app)
    try:
        yield f"http://127.0.0.1:{server.port}"
    finally:
        server.stop()


@pytest.fixture(scope="module")
def url() -> Iterator[str]:
    with serving(max_requests_per_second=10_000) as address:
        yield address


def test_a_user_has_the_keys_and_types_of_the_contract(url: str) -> None:
    response = requests.get(f"{url}/user/6921", timeout=5)
    assert response.headers["Content-Type"] == "application/json"
    user = response.json()
    assert set(user) == {"user_id", "age", "occupation", "gender"}
    assert user["user_id"] == 6921
    assert 13 <= user["age"] <= 90
    assert user["gender"] in ("M", "F")
    assert requests.get(f"{url}/user/6921", timeout=5).json() == user


@pytest.mark.parametrize("index", [0, 650, 700])
def test_a_movie_has_the_24_keys_and_types_of_the_contract(url: str, index: int) -> None:
    movie_id = ENVIRONMENT.movies.ids[index]
    movie = requests.get(f"{url}/movie/{movie_id}", timeout=5).json()
    assert len(movie) == 24
    assert set(movie) >= REQUIRED_KEYS
    assert movie["id"] == movie_id
    assert movie["runtime"] == ENVIRONMENT.movies.runtimes[index]
    assert isinstance(movie["tmdb_id"], int)
    assert movie["adult"] in ("True", "False")
    assert all(isinstance(movie[k], str) for k in ("budget", "popularity", "vote_average"))
    assert all(set(genre) == {"id", "name"} for genre in movie["genres"])


def test_up_to_200_ids_give_a_list_without_unknown_ids(url: str) -> None:
    ids = ",".join(map(str, range(1, 200)))
    users = requests.get(f"{url}/user/{ids},0", timeout=5).json()
    assert [user["user_id"] for user in users] == list(range(1, 200))
    movies = [ENVIRONMENT.movies.ids[1], "no+such+movie+1999", ENVIRONMENT.movies.ids[0]]
    response = requests.get(f"{url}/movie/{','.join(movies)}", timeout=5)
    assert [movie["id"] for movie in response.json()] == [movies[0], movies[2]]
    assert requests.get(f"{url}/user/{ids},200,201", timeout=5).status_code == 400


@pytest.mark.parametrize(
    "path", ["/user/0", "/user/1000001", "/user/abc", "/user/", "/movie/x", "/", "/user/%FF"]
)
def test_an_unknown_id_or_path_is_a_problem_with_status_404(url: str, path: str) -> None:
    response = requests.get(url + path, timeout=5)
    assert response.status_code == 404
    assert response.headers["Content-Type"] == "application/problem+json"
    assert response.json()["status"] == 404


def test_a_client_beyond_the_rate_limit_gets_429_with_retry_after() -> None:
    with serving(max_requests_per_second=2) as url:
        responses = [requests.get(f"{url}/user/7", timeout=5) for _ in range(10)]
        limited = [response for response in responses if response.status_code == 429]
        assert len(limited) >= 4
        assert limited[0].headers["Retry-After"] == "1"
        metrics = requests.get(f"{url}/metrics", timeout=5).text
    assert 'marquee_metadata_api_responses_total{kind="user",status="429"}' in metrics


def test_the_bucket_of_each_client_refills_with_time() -> None:
    now = [0.0]
    limiter = RateLimiter(2, clock=lambda: now[0])
    assert [limiter.acquire("a") for _ in range(5)] == [0, 0, 0, 0, 0.5]
    assert limiter.acquire("b") == 0
    now[0] = 0.5
    assert [limiter.acquire("a") for _ in range(2)] == [0, 0.5]
