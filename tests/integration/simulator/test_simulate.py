"""`marquee simulate` as a process: offline, against the real service, and a failing one."""

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
from tests.support.commands import MARQUEE, invoke, marquee, summary_of
from tests.support.service import Server, free_port, serving
from tests.support.waiting import eventually

RECOMMEND = re.compile("/recommend/.*")
#: Counts that the collector and the simulator have in common.
COUNTS = ("lines", "watches", "ratings", "recommendations", "accounts", "rejected")


@pytest.fixture(scope="module")
def server(shared_model: Path, tmp_path_factory: pytest.TempPathFactory) -> Any:
    with serving(shared_model, tmp_path_factory.mktemp("server")) as running:
        yield running


def test_the_collector_counts_the_same_kinds_and_reasons_as_the_simulator(
    tmp_path: Path, shared_model: Path
) -> None:
    log = tmp_path / "stream.log"
    options = ["--rate", 0.03, "--corruption", 0.01, "--random-ids", 0.004, "--invalid", 0.05]
    sent = summary_of("simulate", *options, "--model", shared_model, "--out", log)["log"]
    counted = summary_of("collect", "--file", log, "--store", tmp_path / "store")
    assert {name: sent[name] for name in COUNTS} == {name: counted[name] for name in COUNTS}
    assert sent["reasons"] == {r: count for r, count in counted["reasons"].items() if count}
    assert set(sent["reasons"]) >= {"time", "user", "request", "movie", "minute"}
    assert min(sent[name] for name in COUNTS) > 50


def test_the_same_options_give_the_same_log_byte_for_byte(
    tmp_path: Path, shared_model: Path
) -> None:
    options = ["--days", 0.2, "--rate", 0.05, "--model", shared_model]
    for name in ("a", "b"):
        summary_of("simulate", *options, "--out", tmp_path / name)
    summary_of("simulate", *options, "--seed", 1, "--out", tmp_path / "c")
    assert (tmp_path / "a").read_bytes() == (tmp_path / "b").read_bytes()
    assert (tmp_path / "a").read_bytes() != (tmp_path / "c").read_bytes()


def simulate_live(url: str, seconds: float, *options: object) -> dict[str, Any]:
    """Run in real time, 600 times as fast; return the summary."""
    days = seconds * 600 / 86_400
    past = ["--start", "2022-11-14"]
    return summary_of("simulate", "--url", url, "--speed", 600, "--days", days, *past, *options)


def test_the_log_of_a_run_against_the_real_service_can_be_collected(
    server: Server, tmp_path: Path
) -> None:
    log = tmp_path / "stream.log"
    summary = simulate_live(server.url, 5, "--rate", 40, "--invalid", 0.1, "--out", log)
    requests_, sent = summary["requests"], summary["log"]
    assert requests_["sent"] > 120
    assert requests_["ok"] / (requests_["sent"] - requests_["invalid"]) > 0.95
    assert requests_["invalid_rejected"] == requests_["invalid"] > 3
    counted = summary_of("collect", "--file", log, "--store", tmp_path / "store")
    assert {name: sent[name] for name in COUNTS} == {name: counted[name] for name in COUNTS}
    assert counted["recommendations"] + sent["reasons"]["user"] >= requests_["sent"] - 3


def test_utility_is_reported_by_the_version_in_the_response(
    httpserver: HTTPServer,
) -> None:
    watches = pl.read_parquet(ROOT / "data" / "sample" / "watches.parquet")
    movies = ",".join(watches["movie_id"].unique(maintain_order=True).head(20))

    def respond(request: Request) -> Response:
        version = "7" if int(request.path.rpartition("/")[2]) % 2 else "8"
        return Response(movies, headers={"X-Model-Version": version})

    httpserver.expect_request(RECOMMEND).respond_with_handler(respond)
    summary = simulate_live(httpserver.url_for(""), 3, "--rate", 30, "--invalid", 0)
    assert set(summary["versions"]) == {"7", "8"}
    for means in summary["versions"].values():
        assert means["best"] > means["recommended"]


def test_a_stalled_service_gets_no_fewer_requests(httpserver: HTTPServer) -> None:
    def respond(_: Request) -> Response:
        time.sleep(0.8)
        return Response("a+1999")

    httpserver.expect_request(RECOMMEND).respond_with_handler(respond)
    summary = simulate_live(httpserver.url_for(""), 4, "--rate", 25, "--invalid", 0)
    assert summary["requests"]["sent"] > 60
    assert summary["requests"]["timeout"] == summary["requests"]["sent"]
    assert summary["requests"]["availability"] == 0
    assert summary["requests"]["p50_ms"] >= 600
    assert summary["log"]["recommendations"] > 0
    assert summary["log"]["watches"] > 0  # users still watch what they discover


def test_requests_to_a_service_that_is_down_are_connection_errors() -> None:
    summary = simulate_live(f"http://127.0.0.1:{free_port()}", 2, "--rate", 20, "--invalid", 0)
    assert summary["requests"]["connection_error"] == summary["requests"]["sent"] > 10


def test_malformed_responses_and_error_statuses_are_counted_separately(
    httpserver: HTTPServer,
) -> None:
    responses = iter([Response("a b c"), Response("no", status=503)] * 1000)
    httpserver.expect_request(RECOMMEND).respond_with_handler(lambda _: next(responses))
    requests_ = simulate_live(httpserver.url_for(""), 3, "--rate", 20, "--invalid", 0)["requests"]
    assert requests_["malformed"] > 5
    assert requests_["http_error"] > 5
    assert requests_["ok"] == 0


def test_sigterm_ends_a_run_with_its_summary(server: Server) -> None:
    port = free_port()
    process = subprocess.Popen(
        [MARQUEE, "simulate", "--url", server.url, "--rate", "20", "--json",
         "--metrics-bind", f"127.0.0.1:{port}"],
        stdout=subprocess.PIPE,
    )  # fmt: skip
    text = ""

    def has_sent_requests() -> bool:
        nonlocal text
        try:
            text = requests.get(f"http://127.0.0.1:{port}/metrics", timeout=2).text
        except requests.RequestException:
            return False
        return re.search(r'requests_total{outcome="ok"} [1-9]', text) is not None

    eventually(has_sent_requests, 60, lambda: text)
    for name in (
        "request_duration_seconds_bucket", "log_lines_total", "lost_log_lines_total",
        "simulated_seconds",
    ):  # fmt: skip
        assert f"marquee_simulator_{name}" in text
    process.send_signal(signal.SIGTERM)
    output, _ = process.communicate(timeout=60)
    assert process.returncode == 0
    assert json.loads(output)["requests"]["ok"] > 0


@pytest.mark.parametrize(
    ("options", "status", "message"),
    [
        (["--url", "localhost"], 2, "not an HTTP address"),
        (["--url", "http://x", "--model", "."], 2, "exclude each other"),
        (["--model", "."], 1, "no such model directory"),
        (["--rate", 0], 2, "--rate"),
        (["--out", "/no/such/directory/x"], 1, "/no/such/directory/x"),
        (["--out", "-", "--json"], 2, "standard output"),
        (["--url", "http://x", "--speed", 600, "--days", 1], 1, "--start 20"),
        (["--url", "http://x", "--speed", 600], 1, "ahead of the clock"),
        (["--start", "2999-01-01"], 1, "ahead of the clock"),
        (["--start", "2022-11-14", "--days", 1e9], 1, "ahead of the clock"),
    ],
)
def test_wrong_options_are_reported_with_their_exit_status(
    options: list[object], status: int, message: str
) -> None:
    done = invoke("simulate", *options)
    assert done.returncode == status, done.stderr
    assert message in done.stderr.decode()


def test_a_metrics_port_in_use_is_reported(httpserver: HTTPServer) -> None:
    done = marquee("simulate", "--days", 0.001, "--metrics-bind", f"127.0.0.1:{httpserver.port}")
    assert done.returncode == 1
    assert f"127.0.0.1:{httpserver.port}" in done.stderr.decode()


def test_a_broker_that_is_down_at_the_start_is_reported() -> None:
    done = marquee("simulate", MARQUEE_KAFKA_SERVERS=f"127.0.0.1:{free_port()}")
    assert done.returncode == 1
    assert b"Error" in done.stderr
