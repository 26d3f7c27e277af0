"""Messages to people, through a real mail server and a real HTTP receiver."""

import json
from collections.abc import Iterator
from pathlib import Path

import pytest
from click.testing import CliRunner, Result
from pytest_httpserver import HTTPServer

from app.cli import marquee
from tests.support.mailbox import Mailbox


@pytest.fixture
def mailbox() -> Iterator[Mailbox]:
    box = Mailbox()
    box.start()
    yield box
    box.stop()


@pytest.fixture
def outbox(
    mailbox: Mailbox, httpserver: HTTPServer, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> Path:
    """Both channels configured; where messages wait."""
    httpserver.expect_request("/services/T0/B0/secret").respond_with_data("ok")
    (tmp_path / "webhook").write_text(httpserver.url_for("/services/T0/B0/secret") + "\n")
    monkeypatch.setenv("MARQUEE_SLACK_WEBHOOK_FILE", str(tmp_path / "webhook"))
    monkeypatch.setenv("MARQUEE_SMTP_HOST", f"127.0.0.1:{mailbox.port}")
    monkeypatch.setenv("MARQUEE_SMTP_TLS", "false")
    monkeypatch.setenv("MARQUEE_MAIL_FROM", "marquee@localhost")
    monkeypatch.setenv("MARQUEE_MAIL_TO", "team@localhost,boss@localhost")
    monkeypatch.setenv("MARQUEE_OUTBOX_DIR", str(tmp_path / "outbox"))
    return tmp_path / "outbox"


def notify(*arguments: str, body: str = "") -> Result:
    return CliRunner().invoke(marquee, ["notify", *arguments], input=body)


def waiting(outbox: Path) -> list[str]:
    return sorted(path.name.split("-")[-1] for path in outbox.glob("*.message"))


def slack_texts(httpserver: HTTPServer) -> list[dict[str, str]]:
    return [json.loads(request.get_data()) for request, _ in httpserver.log]


def test_it_tells_by_mail_and_slack(mailbox: Mailbox, httpserver: HTTPServer, outbox: Path) -> None:
    done = notify(
        "--subject", "Version 7\nis in <service>", "--body-file", "-", body="All & well\n"
    )
    assert done.exit_code == 0, done.output
    assert mailbox.subjects == ["Version 7 is in <service>"] * 2
    assert {mail["To"] for mail in mailbox.mails} == {"team@localhost", "boss@localhost"}
    assert mailbox.mails[0].get_content().strip() == "All & well"
    assert slack_texts(httpserver) == [{"text": "*Version 7 is in <service>*\nAll & well"}]
    assert waiting(outbox) == []


def test_what_a_channel_did_not_take_is_sent_later(
    mailbox: Mailbox, httpserver: HTTPServer, outbox: Path
) -> None:
    mailbox.stop()
    for number in (1, 2):
        done = notify("--subject", f"Message {number}", "--json")
        assert done.exit_code == 0
        assert json.loads(done.stdout)["kept"] == {"mail": number}
    assert len(httpserver.log) == 2, "the other channel is not stopped"
    assert waiting(outbox) == ["mail.message"] * 2
    mailbox.start()
    assert "2 delivered" in notify("--flush").stdout
    assert mailbox.subjects == ["Message 1", "Message 1", "Message 2", "Message 2"]
    assert waiting(outbox) == []


def test_a_webhook_that_refuses_is_kept_too(
    mailbox: Mailbox, httpserver: HTTPServer, outbox: Path
) -> None:
    httpserver.clear()
    httpserver.expect_request("/services/T0/B0/secret").respond_with_data("no", status=503)
    assert notify("--subject", "Hear").exit_code == 0
    assert mailbox.subjects == ["Hear"] * 2
    assert waiting(outbox) == ["slack.message"]


def test_it_fails_when_it_can_neither_send_nor_keep(mailbox: Mailbox, outbox: Path) -> None:
    outbox.write_text("no directory")
    assert notify("--subject", "Taken").exit_code == 0
    mailbox.stop()
    done = notify("--subject", "Lost")
    assert done.exit_code == 1
    assert "neither delivered (mail) nor kept" in done.stderr


def test_a_damaged_message_is_put_aside(mailbox: Mailbox, outbox: Path) -> None:
    outbox.mkdir()
    (outbox / "1-mail.message").write_text("{")
    assert notify("--subject", "Next").exit_code == 0
    assert mailbox.subjects == ["Next"] * 2
    assert (outbox / "1-mail.damaged").exists()


def test_a_long_body_loses_its_middle(mailbox: Mailbox, outbox: Path) -> None:
    body = "first\n" + "x" * 100_000 + "\nlast"
    assert notify("--subject", "Long", "--body-file", "-", body=body).exit_code == 0
    text = mailbox.mails[0].get_content()
    assert len(text) < 40_000
    assert text.startswith("first") and text.rstrip().endswith("last")


def test_without_channels_it_says_so(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("MARQUEE_OUTBOX_DIR", str(tmp_path / "outbox"))
    done = notify("--subject", "Hello")
    assert (done.exit_code, "nobody is told" in done.stdout) == (0, True)
    assert not (tmp_path / "outbox").exists()


@pytest.mark.parametrize("arguments", [(), ("--flush", "--subject", "x")])
def test_wrong_usage(arguments: tuple[str, ...]) -> None:
    assert notify(*arguments).exit_code == 2
