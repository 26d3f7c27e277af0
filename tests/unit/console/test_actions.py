"""Actions: off by default, with the token, from own pages only, confirmed, and recorded."""

import json
import re
import time
from pathlib import Path
from typing import Any

import pytest
from flask.testing import FlaskClient
from werkzeug.test import TestResponse

from app.console import confirmation
from app.console.confirmation import MAX_WRONG_TOKENS
from app.console.console import Console
from app.console.orders import Orders
from app.console.server import create_app
from tests.support.console import AnsweringPrometheus, AnsweringScheduler, refresh, write_release

TOKEN = "a token of sufficient length"
ORIGIN = {"Origin": "http://localhost"}


class Browser:
    """Fills in the forms of the actions as a browser does."""

    def __init__(self, client: FlaskClient) -> None:
        self.client = client
        self.page = client.get("/actions").text

    def field(self, name: str) -> str:
        found = re.search(rf'name="{name}" value="([^"]*)"', self.page)
        assert found, self.page
        return found[1]

    def choose(self, action: str, headers: dict[str, str] = ORIGIN, **fields: str) -> TestResponse:
        form = {"form_key": self.field("form_key"), "action": action, "name": "Ada",
                "reason": "complaints", "token": TOKEN, **fields}  # fmt: skip
        response = self.client.post("/actions", data=form, headers=headers)
        if response.status_code == 200:
            self.page = response.text
        return response

    def confirm(self, headers: dict[str, str] = ORIGIN, **fields: str) -> TestResponse:
        form = {"form_key": self.field("form_key"), "seal": self.field("seal"), **fields}
        return self.client.post("/actions/confirmed", data=form, headers=headers)


@pytest.fixture
def orders(tmp_path: Path) -> Path:
    return tmp_path / "orders"


@pytest.fixture
def acting(console: Console, orders: Path) -> Console:
    object.__setattr__(console, "orders", Orders(orders))
    return console


@pytest.fixture
def browser(acting: Console) -> Browser:
    return Browser(create_app(acting, ["localhost"], TOKEN).test_client())


def read_orders(directory: Path) -> list[dict[str, Any]]:
    return [json.loads(path.read_text()) for path in sorted(directory.glob("*.json"))]


def test_there_are_no_actions_without_a_token(client: FlaskClient) -> None:
    assert "Actions" not in client.get("/").text
    for address in ("/actions", "/actions/confirmed"):
        assert client.get(address).status_code == 404
        assert client.post(address, headers=ORIGIN).status_code == 404


def test_an_action_that_was_confirmed_is_an_order_with_a_row_in_the_log(
    browser: Browser, orders: Path
) -> None:
    confirmation_page = browser.choose("abort")
    assert "Yes, abort" in confirmation_page.text
    assert not orders.exists()  # nothing has happened yet
    assert browser.confirm().status_code == 303
    (order,) = read_orders(orders)
    assert order["format"] == 1
    assert order["action"] == "abort"
    assert order["release"] == "20261127T120000Z-v8"
    assert order["reason"] == "Ada in the console: complaints"
    assert time.time() < order["expires_at"] <= time.time() + 120
    row = json.loads((orders / "audit.jsonl").read_text())
    assert {key: row[key] for key in order} == order
    assert row["address"] == "127.0.0.1"
    page = browser.client.get("/actions").text
    assert "Ada in the console: complaints" in page
    assert "waiting" in page


def test_what_became_of_an_order_is_shown(
    browser: Browser, acting: Console, scheduler: AnsweringScheduler, orders: Path, tmp_path: Path
) -> None:
    for action in ("abort", "retrain", "promote"):
        browser.choose(action)
        browser.confirm()
        browser.page = browser.client.get("/actions").text
    abort, retrain, promote = (order["id"] for order in read_orders(orders))
    log = {"id": abort, "action": "abort", "outcome": "refused", "detail": "too late <b>"}
    (tmp_path / "release" / "orders.jsonl").write_text(json.dumps(log) + '\n{"id": "1')
    scheduler.state["orders"] = [
        {"id": retrain, "outcome": "done", "detail": "Version 9 trained"}, 7,
    ]  # fmt: skip
    audit = orders / "audit.jsonl"
    audit.write_text(audit.read_text().replace(str(read_orders(orders)[2]["expires_at"]), "1")
                     + "damaged\n[]\n")  # fmt: skip
    refresh(acting)
    rows = re.findall(r"<tr><th scope=\"row\">.*?</tr>", browser.client.get("/actions").text)
    assert len(rows) == 3
    for row, outcome in zip(rows, ("expired", "done", "refused"), strict=True):
        assert f">{outcome}</td>" in row
    assert "too late &lt;b&gt;" in rows[2]
    assert promote not in (abort, retrain)


def test_an_action_without_the_token_is_refused(browser: Browser, orders: Path) -> None:
    for token in ("", "another token of this length", "a token", TOKEN + "ÿ"):
        response = browser.choose("abort", token=token)
        assert response.status_code == 403, token
        assert "seal" not in response.text, token
    assert not orders.exists()


def test_tokens_cannot_be_guessed_fast(browser: Browser) -> None:
    for _ in range(MAX_WRONG_TOKENS):
        assert browser.choose("abort", token="wrong").status_code == 403
    assert browser.choose("abort").status_code == 429  # also the right one


FORGED: dict[str, dict[str, str]] = {
    "another site": {"Origin": "http://evil.example"},
    "another port": {"Origin": "http://localhost:3000"},
    "a sandboxed frame": {"Origin": "null"},
    "no origin": {},
    "no address": {"Origin": "http://[localhost"},
    "another site, as newer browsers say": {**ORIGIN, "Sec-Fetch-Site": "cross-site"},
}


def test_a_form_of_another_page_is_refused(browser: Browser, orders: Path) -> None:
    for case, headers in FORGED.items():
        assert browser.choose("abort", headers).status_code == 403, case
    browser.choose("abort")
    for case, headers in FORGED.items():
        assert browser.confirm(headers).status_code == 403, case
    assert not orders.exists()


def test_a_form_without_the_key_of_its_cookie_is_refused(
    browser: Browser, acting: Console, orders: Path
) -> None:
    for key in ("", "0" * 64, "ÿ"):
        assert browser.choose("abort", form_key=key).status_code == 403
    other = Browser(browser.client.application.test_client())
    assert browser.choose("abort", form_key=other.field("form_key")).status_code == 403
    browser.choose("abort")
    browser.client.delete_cookie("marquee_console", path="/actions")
    assert browser.confirm().status_code == 403
    browser.client.set_cookie("marquee_console", "short", path="/actions")
    assert browser.confirm().status_code == 403
    assert not orders.exists()


def test_a_confirmation_works_once_for_its_browser_and_for_two_minutes(
    browser: Browser, orders: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    browser.choose("abort")
    seal = browser.field("seal")
    # Not the last character: two of its bits have no meaning.
    wrong = f"{seal[:-2]}{'0' if seal[-2] != '0' else '1'}{seal[-1]}"
    for changed in (wrong, "x" + seal, "", "."):
        assert browser.confirm(seal=changed).status_code == 403
    other = Browser(browser.client.application.test_client())
    other.choose("abort")
    assert other.confirm(seal=seal).status_code == 403
    assert not orders.exists()
    assert browser.confirm().status_code == 303
    assert browser.confirm().status_code == 403
    assert len(read_orders(orders)) == 1
    monkeypatch.setattr(confirmation, "CONFIRMATION_SECONDS", -1)
    browser.page = browser.client.get("/actions").text
    browser.choose("abort")
    assert browser.confirm().status_code == 403


def test_the_cookie_is_not_sent_with_requests_of_other_sites(browser: Browser) -> None:
    sent = browser.client.application.test_client().get("/actions").headers["Set-Cookie"]
    assert re.fullmatch(
        r"marquee_console=[\w-]{43}; Path=/actions; HttpOnly; SameSite=Strict", sent
    )


def choices(browser: Browser) -> set[str]:
    """The actions that can be chosen."""
    page = browser.client.get("/actions").text
    return set(re.findall(r'value="(\w+)" required>', page))


def test_only_what_applies_now_can_be_chosen(
    browser: Browser, acting: Console, prometheus: AnsweringPrometheus, tmp_path: Path
) -> None:
    prometheus.samples["retrain_running"] = [({}, 0.0)]
    refresh(acting)
    assert choices(browser) == {"abort", "promote", "retrain"}
    assert browser.choose("rollback").status_code == 409
    assert browser.choose("reboot").status_code == 400
    write_release(tmp_path / "release", phase="promoting")
    prometheus.samples["retrain_running"] = [({}, 1.0)]
    refresh(acting)
    assert choices(browser) == set()
    write_release(tmp_path / "release", phase="completed", outcome="promoted")
    refresh(acting)
    assert choices(browser) == {"rollback"}
    (tmp_path / "release" / "state.json").write_text("{")
    prometheus.samples["retrain_running"] = []
    prometheus.samples["retrain_configured"] = [({}, 0.0)]
    refresh(acting)
    assert choices(browser) == set()


def test_a_confirmation_for_another_release_is_refused(
    browser: Browser, acting: Console, orders: Path, tmp_path: Path
) -> None:
    browser.choose("abort")
    write_release(tmp_path / "release", id="20261127T130000Z-v9")
    refresh(acting)
    assert browser.confirm().status_code == 409
    assert not orders.exists()


def test_who_acts_is_asked_for_and_markup_is_text(browser: Browser) -> None:
    assert browser.choose("abort", name=" \n ").status_code == 400
    response = browser.choose("abort", name="<script>", reason="a\nb" + "x" * 500)
    assert "&lt;script&gt;" in response.text
    assert "<script>" not in response.text.replace("<script src", "")
    assert "a bx" in response.text
    assert "x" * 200 not in response.text


def test_a_form_that_is_too_large_is_refused(browser: Browser) -> None:
    assert browser.choose("abort", reason="x" * 20_000).status_code == 413


def test_an_order_without_a_row_in_the_log_is_not_written(browser: Browser, orders: Path) -> None:
    orders.mkdir()
    (orders / "audit.jsonl").mkdir()
    assert "The log of orders cannot be read" in browser.client.get("/actions").text
    browser.choose("abort")
    assert browser.confirm().status_code == 503
    assert read_orders(orders) == []
