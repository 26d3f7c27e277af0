"""`marquee simulate` as people run it: by itself, against the real service, and a failing one."""

import json
import re
import signal
import subprocess
import time
from pathlib import Path
from typing import Any

import polars as pl
import pytest
import requests
from pytest_httpserver import HTTPServer
from werkzeug import Request, Response

from tests.conftest import ROOT
from tests.integration.ingest.test_commands import MARQUEE, marquee, summary_of
from tests.integration.service.conftest import Server, free_port, serving

ASKED = re.compile("/recommend/.*")
#: What a collector and the simulator both count.
COUNTS = ("lines", "watches", "ratings", "recommendations", "accounts", "rejected")


@pytest.fixture(scope="module")
def server(shared_model: Path, tmp_path_factory: pytest.TempPathFactory) -> Any:
    with serving(shared_model, tmp_path_factory.mktemp("server")) as running:
        yield running


def test_a_collector_counts_what_was_sent_by_kind_and_by_damage(
    tmp_path: Path, shared_model: Path
) -> None:
    log = tmp_path / "stream.log"
    options = ["--rate", 0.03, "--damage", 0.01, "--random-ids", 0.004, "--invalid", 0.05]
    sent = summary_of("simulate", *options, "--model", shared_model, "--out", log)["stream"]
    counted = summary_of("collect", "--file", log, "--store", tmp_path / "store")
    assert {name: sent[name] for name in COUNTS} == {name: counted[name] for name in COUNTS}
    assert sent["reasons"] == {r: count for r, count in counted["reasons"].items() if count}
    assert set(sent["reasons"]) >= {"time", "user", "request", "movie", "minute"}
    assert min(sent[name] for name in COUNTS) > 50


def test_the_same_options_give_the_same_bytes(tmp_path: Path, shared_model: Path) -> None:
    options = ["--days", 0.2, "--rate", 0.05, "--model", shared_model]
    for name in ("a", "b"):
        summary_of("simulate", *options, "--out", tmp_path / name)
    summary_of("simulate", *options, "--seed", 1, "--out", tmp_path / "c")
    assert (tmp_path / "a").read_bytes() == (tmp_path / "b").read_bytes()
    assert (tmp_path / "a").read_bytes() != (tmp_path / "c").read_bytes()


def live(url: str, seconds: float, *options: object) -> dict[str, Any]:
    days = seconds * 600 / 86_400
    return summary_of("simulate", "--url", url, "--speed", 600, "--days", days, *options)


def test_the_real_service_is_asked_and_its_stream_collected(server: Server, tmp_path: Path) -> None:
    log = tmp_path / "stream.log"
    told = live(server.url, 5, "--rate", 40, "--invalid", 0.1, "--out", log)
    requests_, sent = told["requests"], told["stream"]
    assert requests_["sent"] > 120
    assert requests_["ok"] / (requests_["sent"] - requests_["invalid"]) > 0.95
    assert requests_["invalid_refused"] == requests_["invalid"] > 3
    counted = summary_of("collect", "--file", log, "--store", tmp_path / "store")
    assert {name: sent[name] for name in COUNTS} == {name: counted[name] for name in COUNTS}
    assert counted["recommendations"] + sent["reasons"]["user"] >= requests_["sent"] - 3


def test_the_version_that_answered_is_told_with_what_it_was_worth(
    httpserver: HTTPServer,
) -> None:
    watches = pl.read_parquet(ROOT / "data" / "sample" / "watches.parquet")
    movies = ",".join(watches["movie_id"].unique(maintain_order=True).head(20))

    def answer(request: Request) -> Response:
        version = "7" if int(request.path.rpartition("/")[2]) % 2 else "8"
        return Response(movies, headers={"X-Model-Version": version})

    httpserver.expect_request(ASKED).respond_with_handler(answer)
    told = live(httpserver.url_for(""), 3, "--rate", 30, "--invalid", 0)
    assert set(told["versions"]) == {"7", "8"}
    for means in told["versions"].values():
        assert means["best"] > means["recommended"]


def test_a_service_that_stalls_is_asked_no_less(httpserver: HTTPServer) -> None:
    def answer(_: Request) -> Response:
        time.sleep(0.8)
        return Response("a+1999")

    httpserver.expect_request(ASKED).respond_with_handler(answer)
    told = live(httpserver.url_for(""), 4, "--rate", 25, "--invalid", 0)
    assert told["requests"]["sent"] > 60
    assert told["requests"]["late"] == told["requests"]["sent"]
    assert told["requests"]["availability"] == 0
    assert told["requests"]["p50_ms"] >= 600
    assert told["stream"]["recommendations"] > 0
    assert told["stream"]["watches"] > 0  # people find something by themselves


def test_a_service_that_is_away_is_unreachable() -> None:
    told = live(f"http://127.0.0.1:{free_port()}", 2, "--rate", 20, "--invalid", 0)
    assert told["requests"]["unreachable"] == told["requests"]["sent"] > 10


def test_what_a_service_answers_wrongly_is_told_apart(httpserver: HTTPServer) -> None:
    answers = iter([Response("a b c"), Response("no", status=503)] * 1000)
    httpserver.expect_request(ASKED).respond_with_handler(lambda _: next(answers))
    requests_ = live(httpserver.url_for(""), 3, "--rate", 20, "--invalid", 0)["requests"]
    assert requests_["malformed"] > 5
    assert requests_["status"] > 5
    assert requests_["ok"] == 0


def test_it_ends_with_a_summary_when_told_to_stop(server: Server) -> None:
    port = free_port()
    process = subprocess.Popen(
        [MARQUEE, "simulate", "--url", server.url, "--rate", "20", "--json",
         "--metrics", f"127.0.0.1:{port}"],
        stdout=subprocess.PIPE,
    )  # fmt: skip
    deadline = time.monotonic() + 20
    text = ""
    while 'requests_total{outcome="ok"} 0.0' in text or "outcome" not in text:
        assert time.monotonic() < deadline, text
        time.sleep(0.3)
        try:
            text = requests.get(f"http://127.0.0.1:{port}/metrics", timeout=2).text
        except requests.ConnectionError:
            continue
    for name in ("answer_seconds_bucket", "lines_total", "lost_lines_total", "time_seconds"):
        assert f"marquee_simulator_{name}" in text
    process.send_signal(signal.SIGTERM)
    output, _ = process.communicate(timeout=20)
    assert process.returncode == 0
    assert json.loads(output)["requests"]["ok"] > 0


@pytest.mark.parametrize(
    ("options", "status", "says"),
    [
        (["--url", "localhost"], 2, "not an address"),
        (["--url", "http://x", "--model", "."], 2, "not both"),
        (["--model", "."], 1, "no such model directory"),
        (["--rate", 0], 2, "--rate"),
        (["--out", "/no/such/directory/x"], 1, "/no/such/directory/x"),
        (["--out", "-", "--json"], 2, "standard output"),
    ],
)
def test_what_cannot_run_is_said(options: list[object], status: int, says: str) -> None:
    done = marquee("simulate", *options)
    assert done.returncode == status, done.stderr
    assert says in done.stderr.decode()


def test_a_port_that_is_taken_is_said(httpserver: HTTPServer) -> None:
    done = marquee("simulate", "--days", 0.001, "--metrics", f"127.0.0.1:{httpserver.port}")
    assert done.returncode == 1
    assert f"127.0.0.1:{httpserver.port}" in done.stderr.decode()


def test_a_broker_that_is_away_at_the_start_is_said() -> None:
    done = marquee("simulate", MARQUEE_KAFKA_SERVERS=f"127.0.0.1:{free_port()}")
    assert done.returncode == 1
    assert b"Error" in done.stderr
