"""`marquee enrich` against real HTTP servers that answer as the editions of the API do."""

import json
import re
import signal
import subprocess
import time
from pathlib import Path
from typing import Any

import pytest
from pytest_httpserver import HTTPServer
from werkzeug import Request, Response

from app.training.runtimes import read_lengths
from app.training.segments import read_users
from tests.integration.ingest.test_commands import MARQUEE, marquee, summary_of

MOVIE = {
    "id": "up+2009", "tmdb_id": 14160, "title": "Up", "adult": "False", "runtime": 96,
    "belongs_to_collection": {}, "genres": [{"id": 16, "name": "Animation"}],
    "original_language": "en", "popularity": "92.1", "release_date": "2009-05-28",
    "vote_average": "7.9", "vote_count": "18000",
}  # fmt: skip
NEWER = {**MOVIE, "belongs_to_collection": None, "vote_average": 7.9, "vote_count": 18000}


class Api:
    """The outside world's API: an edition, the users it knows, and what it was asked."""

    def __init__(self, server: HTTPServer, newest: bool, known: int = 10**6) -> None:
        self.asked: list[list[str]] = []
        self.failing = 0
        self.url = server.url_for("").rstrip("/")
        self._newest, self._known = newest, known
        server.expect_request(re.compile("/(user|movie)/.*")).respond_with_handler(self._answer)

    def _answer(self, request: Request) -> Response:
        kind, _, names = request.path.strip("/").partition("/")
        ids = names.split(",")
        self.asked.append(ids)
        if self.failing:
            self.failing -= 1
            return Response("slow down", 429, {"Retry-After": "0"})
        rows = [row for row in (self._row(kind, name) for name in ids) if row]
        if len(ids) > 1:
            return _json(rows) if self._newest else Response("no such id", 400)
        return _json(rows[0]) if rows else Response("no such id", 404)

    def _row(self, kind: str, name: str) -> dict[str, Any] | None:
        if kind == "movie":
            movie = NEWER if self._newest else MOVIE
            return movie if name == "up+2009" else None
        if int(name) > self._known:
            return None
        return {"user_id": int(name), "age": 34, "occupation": "clerical/admin", "gender": "M"}


def _json(content: object) -> Response:
    return Response(json.dumps(content), content_type="application/json")


@pytest.fixture
def store(tmp_path: Path) -> Path:
    """Users 1 to 300 saw one movie, one of them another that the API does not know."""
    lines = [f"2022-11-14T12:24,{user},GET /data/m/up+2009/0.mpg" for user in range(1, 301)]
    lines.append("2022-11-14T12:24,7,GET /rate/nowhere+1999=4")
    log = "\n".join(lines).encode()
    summary_of("collect", "--file", "-", "--store", tmp_path / "store", stdin=log)
    return tmp_path / "store"


def enrich(store: Path, api: Api, **settings: str) -> dict[str, Any]:
    return summary_of(
        "enrich", "--store", store, MARQUEE_METADATA_API_URL=api.url,
        **{"MARQUEE_METADATA_API_MAX_REQUESTS_PER_SECOND": "1000", **settings},  # type: ignore[arg-type]
    )  # fmt: skip


@pytest.mark.parametrize("newest", [True, False])
def test_both_editions_tell_the_same(store: Path, httpserver: HTTPServer, newest: bool) -> None:
    api = Api(httpserver, newest, known=290)
    told = enrich(store, api)
    assert told["users"] == {"asked": 300, "rows": 300, "known": 290}
    assert told["movies"] == {"asked": 2, "rows": 2, "known": 1}
    assert told["requests"] == len(api.asked) == (3 if newest else 304)
    users = read_users(store / "attributes/users.parquet").drop_nulls()
    assert users.row(0) == (1, 34, "M")
    assert users.height == 290
    lengths = read_lengths(store / "attributes/movies.parquet")
    assert lengths.rows() == [("up+2009", 96.0)]


def test_what_is_known_is_not_asked_again(store: Path, httpserver: HTTPServer) -> None:
    api = Api(httpserver, newest=True, known=290)
    enrich(store, api)
    api.asked.clear()
    assert enrich(store, api)["requests"] == 0
    line = b"2022-11-14T12:24,301,GET /data/m/up+2009/0.mpg"
    summary_of("collect", "--file", "-", "--store", store, stdin=line)
    assert enrich(store, api)["users"] == {"asked": 1, "rows": 301, "known": 290}
    assert api.asked == [["301"]]


def test_users_who_never_watched_are_asked_for_too(store: Path, httpserver: HTTPServer) -> None:
    api = Api(httpserver, newest=True)
    told = enrich(store, api, MARQUEE_METADATA_API_MAX_USER_ID="1000")
    assert told["users"]["known"] == 1000
    assert max(map(len, api.asked)) == 200


def test_an_api_that_says_slow_down_is_asked_again(store: Path, httpserver: HTTPServer) -> None:
    api = Api(httpserver, newest=True)
    api.failing = 2
    assert enrich(store, api)["users"]["known"] == 300


def test_it_asks_no_faster_than_it_may(store: Path, httpserver: HTTPServer) -> None:
    api = Api(httpserver, newest=True)
    told = enrich(
        store,
        api,
        MARQUEE_METADATA_API_MAX_USER_ID="1000",
        MARQUEE_METADATA_API_MAX_REQUESTS_PER_SECOND="2",
    )
    assert told["seconds"] >= (told["requests"] - 1) / 2


def test_interrupted_it_goes_on_where_it_was(store: Path, httpserver: HTTPServer) -> None:
    api = Api(httpserver, newest=False)
    settings = {
        "MARQUEE_METADATA_API_URL": api.url,
        "MARQUEE_METADATA_API_MAX_REQUESTS_PER_SECOND": "100",
    }
    running = subprocess.Popen([MARQUEE, "enrich", "--store", str(store)], env=settings)
    while len(api.asked) < 50:
        time.sleep(0.02)
    running.send_signal(signal.SIGINT)
    assert running.wait(20) == 1
    answered = len(api.asked)
    api.asked.clear()
    told = enrich(store, api)
    assert told["users"]["known"] == 300
    assert told["requests"] <= 304 - answered + 3


def test_an_api_that_is_away_fails_with_a_sentence(store: Path) -> None:
    done = marquee("enrich", "--store", store, MARQUEE_METADATA_API_URL="http://127.0.0.1:1")
    assert done.returncode == 1
    assert b"run again" in done.stderr
    assert b"Traceback" not in done.stderr


def test_nonsense_is_not_taken_for_an_answer(store: Path, httpserver: HTTPServer) -> None:
    httpserver.expect_request(re.compile("/.*")).respond_with_data("<html>hello</html>")
    done = marquee("enrich", "--store", store, MARQUEE_METADATA_API_URL=httpserver.url_for(""))
    assert done.returncode == 1
    assert not list((store / "attributes").glob("*.parquet"))


def test_without_an_api_it_does_nothing_and_says_so(store: Path) -> None:
    done = marquee("enrich", "--store", store)
    assert done.returncode == 0
    assert b"no information API is configured" in done.stderr
