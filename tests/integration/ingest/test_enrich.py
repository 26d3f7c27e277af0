"""`marquee enrich` with HTTP servers that respond like the editions of the metadata API."""

import gzip
import json
import re
import shutil
import signal
import subprocess
from pathlib import Path
from threading import Event
from typing import Any

import pytest
from prometheus_client import CollectorRegistry
from pytest_httpserver import HTTPServer
from werkzeug import Request, Response

from app.ingest.metadata import refresher
from app.ingest.metadata.enrich import enrich as run_enrich
from app.settings import read_settings
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


def enrich(store: Path, api: "Api | PartlyFailingApi", **settings: str) -> dict[str, Any]:
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
    assert b"no usable response for the last 2 movies: invalid body" in done.stderr
    assert b"no usable response for the last 20 users: invalid body" in done.stderr
    assert b"Traceback" not in done.stderr
    assert read_users(store / "metadata/users.parquet").drop_nulls().is_empty()


def test_without_an_api_it_does_nothing(store: Path) -> None:
    done = invoke("enrich", "--store", store)
    assert done.returncode == 0
    assert b"no metadata: MARQUEE_METADATA_API_URL is not set" in done.stderr


GZIP_BOMB = gzip.compress(b'{"id": "b+1999", "title": "%s"}' % (b" " * (50 << 20)))
UNUSABLE = {
    "status 500": Response("{}", 500),
    "status 401": Response("{}", 401),
    "an empty body": Response(""),
    "rubbish": Response("<html>\xff"),
    "invalid UTF-8": Response(b'{"id": "\xff"}'),
    "deep nesting": Response("[" * 100_000),
    "a number": Response("1" * 5000),
    "null": Response("null"),
    "a lone surrogate": Response('{"id": "b+1999", "title": "\\ud800"}'),
    "a redirect": Response("", 302, {"Location": "/elsewhere"}),
    "a gzip bomb": Response(GZIP_BOMB, headers={"Content-Encoding": "gzip"}),
    "broken gzip": Response("{}", headers={"Content-Encoding": "gzip"}),
    "too many bytes": Response('{"id": "b+1999"}' + " " * (5 << 20)),
    "an unknown encoding": Response("{}", headers={"Content-Encoding": "compress"}),
}


class PartlyFailingApi:
    """An API that knows every id, and whose response for the movie `b+1999` is `unusable`.

    Attributes:
        accepts_batches: whether it answers several ids at once; status 500 otherwise.
    """

    def __init__(self, server: HTTPServer, unusable: Response) -> None:
        self.url = server.url_for("").rstrip("/")
        self.unusable: Response | None = unusable
        self.accepts_batches = True
        self.targets: list[str] = []
        server.expect_request(re.compile("/.*")).respond_with_handler(self._respond)

    def _respond(self, request: Request) -> Response:
        self.targets.append(request.environ["RAW_URI"])
        kind, _, names = request.path.removeprefix("/").partition("/")
        ids = names.split(",")
        if self.unusable and "b+1999" in ids:
            return self.unusable
        if len(ids) > 1 and not self.accepts_batches:
            return Response("{}", 500)
        rows: list[dict[str, Any]] = [
            {"id": name, "title": "T"} if kind == "movie" else {"user_id": int(name), "age": 30}
            for name in ids
        ]
        return _json(rows if len(ids) > 1 else rows[0])


@pytest.fixture(scope="module")
def small_store(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Four users who rated one movie each; the second one is `b+1999`."""
    store = tmp_path_factory.mktemp("small") / "store"
    movies = ("a+2000", "b+1999", "c+1998", "d+1997")
    lines = [f"2022-11-14T12:24:0{n},{n},GET /rate/{m}=4" for n, m in enumerate(movies, 1)]
    summary_of("collect", "--file", "-", "--store", store, stdin="\n".join(lines).encode())
    return store


@pytest.mark.parametrize(
    ("unusable", "accepts_batches"),
    [*((name, True) for name in UNUSABLE), ("status 500", False), ("a lone surrogate", False)],
)
def test_an_id_without_a_usable_response_stops_no_other_and_is_requested_again(
    small_store: Path, tmp_path: Path, httpserver: HTTPServer, unusable: str, accepts_batches: bool
) -> None:
    store = shutil.copytree(small_store, tmp_path / "store")
    api = PartlyFailingApi(httpserver, UNUSABLE[unusable])
    api.accepts_batches = accepts_batches
    summary = enrich(store, api)
    assert summary["movies"] == {"requested": 4, "rows": 4, "known": 3}
    assert summary["users"] == {"requested": 4, "rows": 4, "known": 4}
    assert summary["failed"] == 1
    assert not any("elsewhere" in target for target in api.targets)
    api.targets.clear()
    assert enrich(store, api)["failed"] == 1
    assert api.targets == ["/movie/b+1999"]
    api.unusable = None
    summary = enrich(store, api)
    assert (summary["movies"]["known"], summary["failed"]) == (4, 0)
    assert enrich(store, api)["requests"] == 0


def test_a_batch_with_an_unusable_id_is_divided(store: Path, httpserver: HTTPServer) -> None:
    api = PartlyFailingApi(httpserver, Response("{}", 500))
    lines = [f"2022-11-14T12:24,1,GET /rate/m+{1900 + year}=4" for year in range(100)]
    lines.append("2022-11-14T12:24,1,GET /rate/b+1999=4")
    summary_of("collect", "--file", "-", "--store", store, stdin="\n".join(lines).encode())
    summary = enrich(store, api)
    assert (summary["movies"]["known"], summary["users"]["known"]) == (102, 300)
    assert summary["failed"] == 1
    assert summary["requests"] < 40


def test_many_unusable_ids_end_a_run_and_the_next_one_continues_after_them(
    store: Path, httpserver: HTTPServer
) -> None:
    lines = [
        f"2022-11-14T12:24,{user},GET /rate/m+{1900 + n}=4" for n in range(30) for user in (1, 2)
    ]
    summary_of("collect", "--file", "-", "--store", store, stdin="\n".join(lines).encode())
    api = Api(httpserver, newest=True)
    httpserver.clear()
    httpserver.expect_request(re.compile("/movie/.*m.*")).respond_with_data("", 500)
    httpserver.expect_request(re.compile("/.*")).respond_with_handler(api._respond)
    done = invoke(
        "enrich", "--store", store, MARQUEE_METADATA_API_URL=api.url,
        MARQUEE_METADATA_API_MAX_REQUESTS_PER_SECOND="1000",
    )  # fmt: skip
    assert done.returncode == 1
    assert b"no usable response for the last 20 movies: status 500" in done.stderr
    assert read_users(store / "metadata/users.parquet").drop_nulls().height == 300
    summary = enrich(store, api)
    assert summary["movies"]["known"] == 1
    assert summary["failed"] == 30


@pytest.mark.parametrize("movie", [".", "..", "%2e%2e", "%2f..", "a%2fb", "...", "up+2009"])
def test_ids_stay_whole_in_the_path(tmp_path: Path, httpserver: HTTPServer, movie: str) -> None:
    line = f"2022-11-14T12:24:00,1,GET /rate/{movie}=4"
    summary_of("collect", "--file", "-", "--store", tmp_path, stdin=line.encode())
    api = PartlyFailingApi(httpserver, Response(""))
    enrich(tmp_path, api)
    (target,) = (target for target in api.targets if "user" not in target)
    escaped = {".": "%2E", "..": "%2E%2E"}.get(movie, movie)
    assert target.lower() == f"/movie/{escaped}".lower()


class PolarsPanic(BaseException):
    """Like the panics of polars."""


@pytest.mark.parametrize("error", [ValueError("unexpected"), PolarsPanic()])
def test_the_periodic_thread_survives_any_exception(
    small_store: Path, tmp_path: Path, httpserver: HTTPServer, monkeypatch: pytest.MonkeyPatch,
    error: BaseException,
) -> None:  # fmt: skip
    store = shutil.copytree(small_store, tmp_path / "store")
    api = PartlyFailingApi(httpserver, Response("", 500))
    errors = [error]

    def enrich_after_an_error(*arguments: Any) -> Any:
        if errors:
            raise errors.pop()
        return run_enrich(*arguments)

    monkeypatch.setattr(refresher, "enrich", enrich_after_an_error)
    monkeypatch.setattr(refresher, "_INITIAL_DELAY_SECONDS", 0.01)
    monkeypatch.setattr(refresher, "_INTERVAL_SECONDS", 0.01)
    registry, stop = CollectorRegistry(), Event()
    settings = read_settings(store_dir=store, metadata_api_url=api.url)
    refresher.MetadataRefresher(settings, registry, stop).start()

    def metric(name: str) -> float:
        return registry.get_sample_value(f"marquee_metadata_{name}") or 0.0

    started = metric("heartbeat_timestamp_seconds")
    assert started > 0
    eventually(lambda: metric("failed_rows") == 1, 30, "a run after the error")
    assert metric("failures_total") == 1
    assert metric("heartbeat_timestamp_seconds") > started
    stop.set()
