"""`marquee enrich` with HTTP servers that respond like the editions of the metadata API."""

import json
import re
import signal
import subprocess
from pathlib import Path
from typing import Any

import pytest
from pytest_httpserver import HTTPServer
from werkzeug import Request, Response

from app.training.runtimes import read_lengths
from app.training.segments import read_users
from tests.support.commands import MARQUEE, invoke, marquee, summary_of
from tests.support.waiting import eventually

MOVIE = {
    "id": "up+2009", "tmdb_id": 14160, "title": "Up", "adult": "False", "runtime": 96,
    "belongs_to_collection": {}, "genres": [{"id": 16, "name": "Animation"}],
    "original_language": "en", "popularity": "92.1", "release_date": "2009-05-28",
    "vote_average": "7.9", "vote_count": "18000",
}  # fmt: skip
NEWER = {**MOVIE, "belongs_to_collection": None, "vote_average": 7.9, "vote_count": 18000}


class Api:
    """A metadata API: its edition, the users it knows, and the ids of each request."""

    def __init__(self, server: HTTPServer, newest: bool, max_user_id: int = 10**6) -> None:
        self.requests: list[list[str]] = []
        self.failures_left = 0
        self.url = server.url_for("").rstrip("/")
        self._newest, self._max_user_id = newest, max_user_id
        server.expect_request(re.compile("/(user|movie)/.*")).respond_with_handler(self._respond)

    def _respond(self, request: Request) -> Response:
        kind, _, names = request.path.strip("/").partition("/")
        ids = names.split(",")
        self.requests.append(ids)
        if self.failures_left:
            self.failures_left -= 1
            return Response("slow down", 429, {"Retry-After": "0"})
        rows = [row for row in (self._row(kind, name) for name in ids) if row]
        if len(ids) > 1:
            return _json(rows) if self._newest else Response("no such id", 400)
        return _json(rows[0]) if rows else Response("no such id", 404)

    def _row(self, kind: str, name: str) -> dict[str, Any] | None:
        if kind == "movie":
            movie = NEWER if self._newest else MOVIE
            return movie if name == "up+2009" else None
        if int(name) > self._max_user_id:
            return None
        return {"user_id": int(name), "age": 34, "occupation": "clerical/admin", "gender": "M"}


def _json(content: object) -> Response:
    return Response(json.dumps(content), content_type="application/json")


@pytest.fixture
def store(tmp_path: Path) -> Path:
    """A store where users 1 to 300 watched a movie, and one rated another, unknown to the API."""
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
def test_both_editions_give_the_same_metadata(
    store: Path, httpserver: HTTPServer, newest: bool
) -> None:
    api = Api(httpserver, newest, max_user_id=290)
    summary = enrich(store, api)
    assert summary["users"] == {"requested": 300, "rows": 300, "known": 290}
    assert summary["movies"] == {"requested": 2, "rows": 2, "known": 1}
    assert summary["requests"] == len(api.requests) == (3 if newest else 304)
    users = read_users(store / "metadata/users.parquet").drop_nulls()
    assert users.row(0) == (1, 34, "M")
    assert users.height == 290
    runtimes = read_lengths(store / "metadata/movies.parquet")
    assert runtimes.rows() == [("up+2009", 96.0)]


def test_known_metadata_is_not_requested_again(store: Path, httpserver: HTTPServer) -> None:
    api = Api(httpserver, newest=True, max_user_id=290)
    enrich(store, api)
    api.requests.clear()
    assert enrich(store, api)["requests"] == 0
    line = b"2022-11-14T12:24,301,GET /data/m/up+2009/0.mpg"
    summary_of("collect", "--file", "-", "--store", store, stdin=line)
    assert enrich(store, api)["users"] == {"requested": 1, "rows": 301, "known": 290}
    assert api.requests == [["301"]]


def test_users_without_events_are_requested_up_to_the_maximum_id(
    store: Path, httpserver: HTTPServer
) -> None:
    api = Api(httpserver, newest=True)
    summary = enrich(store, api, MARQUEE_METADATA_API_MAX_USER_ID="1000")
    assert summary["users"]["known"] == 1000
    assert max(map(len, api.requests)) == 200


def test_requests_with_status_429_are_retried(store: Path, httpserver: HTTPServer) -> None:
    api = Api(httpserver, newest=True)
    api.failures_left = 2
    assert enrich(store, api)["users"]["known"] == 300


def test_the_rate_limit_is_kept(store: Path, httpserver: HTTPServer) -> None:
    api = Api(httpserver, newest=True)
    summary = enrich(
        store,
        api,
        MARQUEE_METADATA_API_MAX_USER_ID="1000",
        MARQUEE_METADATA_API_MAX_REQUESTS_PER_SECOND="2",
    )
    assert summary["seconds"] >= (summary["requests"] - 1) / 2


def test_an_interrupted_run_is_continued(store: Path, httpserver: HTTPServer) -> None:
    api = Api(httpserver, newest=False)
    settings = {
        "MARQUEE_METADATA_API_URL": api.url,
        "MARQUEE_METADATA_API_MAX_REQUESTS_PER_SECOND": "100",
    }
    running = subprocess.Popen([MARQUEE, "enrich", "--store", str(store)], env=settings)
    eventually(lambda: len(api.requests) >= 50, 60, "50 requests")
    running.send_signal(signal.SIGINT)
    assert running.wait(60) == 1
    completed = len(api.requests)
    api.requests.clear()
    summary = enrich(store, api)
    assert summary["users"]["known"] == 300
    assert summary["requests"] <= 304 - completed + 3


def test_an_unavailable_api_is_an_error_without_a_traceback(store: Path) -> None:
    done = marquee("enrich", "--store", store, MARQUEE_METADATA_API_URL="http://127.0.0.1:1")
    assert done.returncode == 1
    assert b"run again" in done.stderr
    assert b"Traceback" not in done.stderr


def test_a_response_that_is_not_json_is_an_error(store: Path, httpserver: HTTPServer) -> None:
    httpserver.expect_request(re.compile("/.*")).respond_with_data("<html>hello</html>")
    done = invoke("enrich", "--store", store, MARQUEE_METADATA_API_URL=httpserver.url_for(""))
    assert done.returncode == 1
    assert not list((store / "metadata").glob("*.parquet"))


def test_without_an_api_it_does_nothing(store: Path) -> None:
    done = invoke("enrich", "--store", store)
    assert done.returncode == 0
    assert b"no metadata: MARQUEE_METADATA_API_URL is not set" in done.stderr
