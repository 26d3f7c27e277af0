"""`marquee notify` with a real mail server and a real HTTP receiver."""

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
    """Configure both channels; return the outbox."""
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


def pending(outbox: Path) -> list[str]:
    return sorted(path.name.split("-")[-1] for path in outbox.glob("*.message"))


def slack_texts(httpserver: HTTPServer) -> list[dict[str, str]]:
    return [json.loads(request.get_data()) for request, _ in httpserver.log]


def test_a_message_is_sent_by_mail_and_slack(
    mailbox: Mailbox, httpserver: HTTPServer, outbox: Path
) -> None:
    result = notify(
        "--subject", "Version 7\nis in <service>", "--body-file", "-", body="All & well\n"
    )
    assert result.exit_code == 0, result.output
    assert mailbox.subjects == ["Version 7 is in <service>"] * 2
    assert {mail["To"] for mail in mailbox.mails} == {"team@localhost", "boss@localhost"}
    assert mailbox.mails[0].get_content().strip() == "All & well"
    assert slack_texts(httpserver) == [{"text": "*Version 7 is in <service>*\nAll & well"}]
    assert pending(outbox) == []


def test_a_message_that_a_channel_rejects_stays_pending_and_is_sent_later(
    mailbox: Mailbox, httpserver: HTTPServer, outbox: Path
) -> None:
    mailbox.stop()
    for number in (1, 2):
        result = notify("--subject", f"Message {number}", "--json")
        assert result.exit_code == 0
        assert json.loads(result.stdout)["pending"] == {"mail": number}
    assert len(httpserver.log) == 2, "the other channel still sends"
    assert pending(outbox) == ["mail.message"] * 2
    mailbox.start()
    assert "2 delivered" in notify("--flush").stdout
    assert mailbox.subjects == ["Message 1", "Message 1", "Message 2", "Message 2"]
    assert pending(outbox) == []


def test_a_message_that_the_webhook_rejects_stays_pending(
    mailbox: Mailbox, httpserver: HTTPServer, outbox: Path
) -> None:
    httpserver.clear()
    httpserver.expect_request("/services/T0/B0/secret").respond_with_data("no", status=503)
    assert notify("--subject", "Hello").exit_code == 0
    assert mailbox.subjects == ["Hello"] * 2
    assert pending(outbox) == ["slack.message"]


def test_it_fails_when_a_message_is_neither_delivered_nor_saved(
    mailbox: Mailbox, outbox: Path
) -> None:
    outbox.write_text("no directory")
    assert notify("--subject", "Accepted").exit_code == 0
    mailbox.stop()
    result = notify("--subject", "Lost")
    assert result.exit_code == 1
    assert "neither delivered (mail) nor saved" in result.stderr


def test_a_damaged_message_does_not_block_the_outbox(mailbox: Mailbox, outbox: Path) -> None:
    outbox.mkdir()
    (outbox / "1-mail.message").write_text("{")
    assert notify("--subject", "Next").exit_code == 0
    assert mailbox.subjects == ["Next"] * 2
    assert (outbox / "1-mail.damaged").exists()


def test_the_middle_of_a_long_body_is_removed(mailbox: Mailbox, outbox: Path) -> None:
    body = "first\n" + "x" * 100_000 + "\nlast"
    assert notify("--subject", "Long", "--body-file", "-", body=body).exit_code == 0
    text = mailbox.mails[0].get_content()
    assert len(text) < 40_000
    assert text.startswith("first") and text.rstrip().endswith("last")


def test_without_channels_nothing_is_sent_and_the_output_says_so(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setenv("MARQUEE_OUTBOX_DIR", str(tmp_path / "outbox"))
    result = notify("--subject", "Hello")
    assert (result.exit_code, "neither mail nor Slack is configured" in result.stdout) == (0, True)
    assert not (tmp_path / "outbox").exists()


@pytest.mark.parametrize("arguments", [(), ("--flush", "--subject", "x")])
def test_wrong_usage_exits_with_2(arguments: tuple[str, ...]) -> None:
    assert notify(*arguments).exit_code == 2


def test_a_body_that_is_not_utf8_is_sent(mailbox: Mailbox, outbox: Path, tmp_path: Path) -> None:
    (tmp_path / "body").write_bytes(b"broken \xff byte")
    assert notify("--subject", "Log", "--body-file", str(tmp_path / "body")).exit_code == 0
    assert "broken \ufffd byte" in mailbox.mails[0].get_content()
