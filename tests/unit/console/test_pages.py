"""Every page: what it shows, what it says of a source that is away, and hostile content."""

import json
import math
import os
import re
import time
from html.parser import HTMLParser
from pathlib import Path
from threading import Event, Semaphore, Thread
from typing import Any

import pytest
from flask.testing import FlaskClient
from pytest_httpserver import HTTPServer

from app.console.console import Console, create_console
from app.console.pages import MAX_LOOK_UPS, PAGES
from app.console.server import create_app
from app.quality.results import save_quality
from tests.conftest import MOVIES
from tests.support.console import (
    AnsweringPrometheus,
    AnsweringScheduler,
    refresh,
    settings_of,
    write_release,
)
from tests.support.provenance import Environment, make_record

ADDRESSES = ["/" if name == "overview" else f"/{name}" for name, _ in PAGES]
MAX_PAGE_BYTES = 100_000


def get_text(client: FlaskClient, address: str) -> str:
    """The text of a page, without markup and with single spaces."""
    response = client.get(address)
    assert response.status_code == 200, response.text
    return re.sub(r"\s+", " ", re.sub(r"<[^>]+>", "", response.text))


def test_a_page_is_complete_small_and_never_stored(pages: FlaskClient) -> None:
    for address in ADDRESSES:
        response = pages.get(address)
        assert response.status_code == 200, address
        assert response.text.rstrip().endswith("</html>"), address
        assert len(response.data) < MAX_PAGE_BYTES, address
        assert response.headers["Cache-Control"] == "no-store", address


def test_every_response_has_a_strict_policy(pages: FlaskClient) -> None:
    for address in [*ADDRESSES, "/static/console.js", "/nothing", "/metrics"]:
        response = pages.get(address)
        policy = response.headers["Content-Security-Policy"]
        assert "default-src 'none'" in policy
        assert "unsafe" not in policy
        assert response.headers["X-Content-Type-Options"] == "nosniff"
        if "html" in response.content_type:  # nothing that the policy would refuse
            assert not re.search(r"<script(?! src=\"/static/)| style=| on[a-z]+=", response.text)
        response.close()  # of a static file


def test_nothing_can_be_changed(pages: FlaskClient) -> None:
    for address in [*ADDRESSES, "/runbook/SlotDown"]:
        for method in ("post", "put", "patch", "delete"):
            assert getattr(pages, method)(address).status_code == 405, address


def test_another_host_name_is_refused(pages: FlaskClient) -> None:
    assert pages.get("/", headers={"Host": "evil.example"}).status_code == 400
    assert pages.get("/", headers={"Host": "localhost:8090"}).status_code == 200


class Structure(HTMLParser):
    """Headings, ids, labels and inputs of a page."""

    def __init__(self) -> None:
        super().__init__()
        self.levels: list[int] = []
        self.ids: list[str] = []
        self.labels: set[str] = set()
        self.inputs: set[str] = set()

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        values = dict(attrs)
        if re.fullmatch(r"h[1-6]", tag):
            self.levels.append(int(tag[1]))
        if values.get("id"):
            self.ids.append(str(values["id"]))
        if tag == "label":
            self.labels.add(str(values["for"]))
        if tag == "input":
            self.inputs.add(str(values["id"]))


def test_a_page_has_one_title_ordered_headings_and_labels(pages: FlaskClient) -> None:
    for address in [*ADDRESSES, "/find?user=42", "/runbook/SlotDown", "/nothing"]:
        structure = Structure()
        structure.feed(pages.get(address).text)
        assert structure.levels.count(1) == 1, address
        steps = zip(structure.levels, structure.levels[1:], strict=False)
        assert all(after - before <= 1 for before, after in steps), address
        assert len(set(structure.ids)) == len(structure.ids), address
        assert structure.inputs == structure.labels, address


def test_the_overview_is_well_while_nothing_is_wrong(pages: FlaskClient) -> None:
    text = get_text(pages, "/")
    assert "All is well" in text
    assert "Version 8: analyzing" in text


def test_the_overview_names_what_is_wrong_and_where_to_read_on(
    client: FlaskClient, console: Console, prometheus: AnsweringPrometheus
) -> None:
    prometheus.alerts = [
        ("SlotDown", "firing", "canary is down"), ("HighLatency", "pending", "slow")
    ]  # fmt: skip
    refresh(console)
    page = client.get("/").text
    assert "Not all is well: 1 thing is wrong" in page
    assert "canary is down" in page
    assert 'href="/runbook/SlotDown"' in page
    assert "slow" not in page
    assert "docker compose up -d --no-deps" in get_text(client, "/runbook/SlotDown")
    assert "pending" in get_text(client, "/alerts")


def test_an_unknown_section_of_the_runbook_is_not_found(pages: FlaskClient) -> None:
    for alert in ("Nothing", "..%2f..%2fetc%2fpasswd", "a-b"):
        assert pages.get(f"/runbook/{alert}").status_code == 404


def test_a_release_shows_phase_deadline_next_step_and_checks(pages: FlaskClient) -> None:
    text = get_text(pages, "/release")
    assert "Version 8: analyzing" in text
    assert "evaluates guards until the deadline, then promotes or aborts" in text
    assert "in 59" in text or "in 60" in text  # minutes
    assert "must be below 0.5 %" in text
    assert "CONTINUE: 10" in text
    assert pages.get("/release").text.count("<svg") == 2  # the third check has no limit
    assert "20261120T120000Z-v7" in text


def test_a_release_that_ended_shows_how_and_why(
    client: FlaskClient, console: Console, tmp_path: Path
) -> None:
    for outcome, reason in (("promoted", "all checks passed"), ("aborted", "timeouts 3 %")):
        write_release(tmp_path / "release", phase="completed", outcome=outcome, reason=reason,
                      completed_at=time.time())  # fmt: skip
        refresh(console)
        text = get_text(client, "/release")
        assert f"Version 8: {outcome}" in text
        assert reason in text


def test_a_history_is_read_again_only_when_it_has_changed(
    client: FlaskClient, console: Console, tmp_path: Path
) -> None:
    history = tmp_path / "release" / "history" / "20261120T120000Z-v7.jsonl"
    status, text = history.stat(), history.read_text()
    history.write_text(text.replace("all checks passed", "ALL CHECKS PASSED"))
    os.utime(history, ns=(status.st_atime_ns, status.st_mtime_ns))
    refresh(console)
    assert "all checks passed" in get_text(client, "/release")
    history.write_text(text.replace("all checks passed", "one check failed"))
    refresh(console)
    assert "one check failed" in get_text(client, "/release")
    history.unlink()
    refresh(console)
    assert "v7" not in get_text(client, "/release")


def test_versions_show_metrics_data_commit_service_and_releases(pages: FlaskClient) -> None:
    text = get_text(pages, "/versions")
    assert "stable-1, stable-2" in text
    assert "promoted" in text


def test_versions_show_online_quality_and_fairness_where_they_exist(
    client: FlaskClient,
    console: Console,
    environment: Environment,
    scheduler: AnsweringScheduler,
) -> None:
    text = get_text(client, "/versions")
    assert "None was computed" in text
    assert "No report is known" in text
    found = {"candidate": 0.21, "production": 0.2, "difference": 0.01, "standard_error": 0.002,
             "interval": [0.006, 0.015], "candidate_answers": 500, "production_answers": 2000,
             "users": 90}  # fmt: skip
    result = {"candidate": 3, "production": 2, "start": "2026-11-26T00:00:00",
              "end": "2026-11-27T00:00:00"}  # fmt: skip
    for difference in (0.03, 0.01):  # the newest counts
        newest = {**found, "difference": difference}
        lacking = {**found, "standard_error": math.nan, "interval": [math.nan, math.nan]}
        horizons = {"1h": {"takes": newest, "minutes": lacking}, "24h": None}
        save_quality(environment.engine(), {**result, "horizons": horizons})
    scheduler.state["fairness"] = [
        {"version": 2, "users": 80}, 7, {"version": "x"},
        {"version": 3, "users": 90, "coverage": 0.25, "gini": True, "similarity": 0.3,
         "most_popular": 0.4, "summary": "12 groups <b>"},
    ]  # fmt: skip
    refresh(console)
    page, text = client.get("/versions").text, get_text(client, "/versions")
    assert "321htakes0.210.20.01 (0.006 to 0.015)500" in text
    assert "321hminutes0.210.20.01500" in text
    assert "0.03" not in text
    assert "25 %unknown30 %40 %12 groups &lt;b&gt;" in text
    assert page.index("12 groups") < page.index('<th scope="row">2</th>')


def test_retraining_shows_why_a_version_was_refused(pages: FlaskClient) -> None:
    assert "gate_failed: Version 9 is not published: ndcg is 0.1" in get_text(pages, "/retraining")


def test_a_users_answers_are_traced_to_code_data_and_model(pages: FlaskClient) -> None:
    text = get_text(pages, "/find?user=42")
    assert text.count("git checkout") == 5
    assert MOVIES[1] in text
    assert "No record is known" in get_text(pages, "/find?user=8")
    assert "is a whole number" in get_text(pages, "/find?user=-1")
    assert "is a whole number" in get_text(pages, f"/find?user={10**30}")


def test_a_request_is_found_by_its_id(pages: FlaskClient) -> None:
    request_id = make_record(5).request_id
    assert f"Answer to request {request_id}" in get_text(pages, f"/find?request={request_id}")
    assert "No record is known" in get_text(pages, "/find?request=1%27%20or%201=1")


def test_look_ups_that_wait_leave_threads_for_the_other_pages(
    client: FlaskClient, console: Console, monkeypatch: pytest.MonkeyPatch
) -> None:
    finish, waiting = Event(), Semaphore(0)

    def find_user(_: int) -> list[dict[str, Any]]:
        waiting.release()
        finish.wait(60)
        return []

    monkeypatch.setattr(console.records, "find_user", find_user)
    threads = [Thread(target=client.application.test_client().get, args=("/find?user=42",))
               for _ in range(MAX_LOOK_UPS)]  # fmt: skip
    for thread in threads:
        thread.start()
    try:
        for _ in threads:
            assert waiting.acquire(timeout=60)
        assert "Too many look-ups" in get_text(client, "/find?user=42")
        assert client.get("/").status_code == 200
    finally:
        finish.set()
        for thread in threads:
            thread.join()
    assert "No record is known" in get_text(client, "/find?user=42")


def test_a_page_waits_for_a_look_up_for_seconds_only(
    client: FlaskClient, console: Console, monkeypatch: pytest.MonkeyPatch
) -> None:
    finish = Event()

    def find_user(_: int) -> list[dict[str, Any]]:
        finish.wait(60)
        return []

    monkeypatch.setattr(console.records, "find_user", find_user)
    monkeypatch.setattr("app.console.pages.LOOK_UP_SECONDS", 0.1)
    try:
        assert "does not respond in time" in get_text(client, "/find?user=42")
    finally:
        finish.set()


HOSTILE = "<script>alert(1)</script>\"'&\x1b[31m\u202etxt\ud800"


def test_hostile_content_is_shown_as_text(
    client: FlaskClient,
    console: Console,
    prometheus: AnsweringPrometheus,
    scheduler: AnsweringScheduler,
    tmp_path: Path,
) -> None:
    write_release(tmp_path / "release", reason=HOSTILE, version=HOSTILE, commit=HOSTILE,
                  phase=HOSTILE, started_by=HOSTILE)  # fmt: skip
    scheduler.state = {"status": HOSTILE, "subject": HOSTILE, "finished_at": [], "step": HOSTILE}
    prometheus.alerts = [(HOSTILE, "firing", HOSTILE)]
    for name in prometheus.samples:
        labels = dict.fromkeys(("slot", "version", "kind", "reason", "volume", "status"), HOSTILE)
        prometheus.samples[name] += [(labels, 1.0)]
    refresh(console)
    for address in [*ADDRESSES, "/find?movie=%3Cscript%3E%1b", "/find?user=%3Cscript%3E"]:
        response = client.get(address)
        assert response.status_code == 200, address
        assert "<script>" not in response.text, address
        assert not re.search("[\x00-\x08\x0b-\x1f\u202e]", response.text), address
    assert "&lt;script&gt;" in client.get("/release").text
    assert "\\x1b[31m" in client.get("/release").text


DAMAGED = (
    "[1]", "{", "null", '{"phase": [], "last_evaluation": 3}',
    '{"last_evaluation": {"checks": [1, {"limit": {}, "interval": [[]]}]}, "version": NaN}',
)  # fmt: skip


def test_a_damaged_state_ends_no_page(
    client: FlaskClient, console: Console, tmp_path: Path
) -> None:
    for state in DAMAGED:
        (tmp_path / "release" / "state.json").write_text(state)
        console.release.refresh()
        for address in ("/", "/release", "/versions"):
            assert client.get(address).status_code == 200, state


def test_a_source_that_is_away_is_named_with_the_time_and_the_rest_is_shown(
    client: FlaskClient, console: Console, httpserver: HTTPServer, tmp_path: Path
) -> None:
    (tmp_path / "release" / "state.json").write_text("{")
    (tmp_path / "provenance.db").rename(tmp_path / "elsewhere.db")
    httpserver.clear()
    httpserver.expect_request("/state").respond_with_data("[]")
    for name in ("query", "query_range", "rules"):
        httpserver.expect_request(f"/api/v1/{name}").respond_with_data("away", status=503)
    refresh(console)
    for address in ADDRESSES:
        assert client.get(address).status_code == 200
    overview = get_text(client, "/")
    assert "Not all is well" in overview
    assert "Prometheus: Prometheus does not respond" in overview
    slots = get_text(client, "/slots")
    assert "Not reached since 20" in slots
    assert "What follows was read" in slots
    assert "stable-1" in slots
    assert "state.json is damaged" in get_text(client, "/release")
    assert "Version 8: analyzing" in get_text(client, "/release")  # what was read before
    assert "the database does not respond" in get_text(client, "/versions")
    assert "the database does not respond" in get_text(client, "/find?user=42")
    assert "the scheduler returned an answer of an unknown form" in get_text(client, "/retraining")
    assert "gate_failed" in get_text(client, "/retraining")  # what was read before


def test_a_console_that_never_reached_anything_shows_every_page(tmp_path: Path) -> None:
    console = create_console(settings_of(tmp_path / "empty", "http://127.0.0.1:9"))
    fresh = create_app(console, ["localhost"]).test_client()
    for _ in range(2):  # before and after the first attempt
        assert all(fresh.get(address).status_code == 200 for address in ADDRESSES)
        assert "Not all is well" in fresh.get("/").text
        refresh(console)
    assert json.loads(fresh.get("/health").text)["status"] == "alive"
