"""`marquee notify` with a real mail server and a real HTTP receiver."""

import json
from pathlib import Path

import pytest
from pytest_httpserver import HTTPServer

from tests.support.mailbox import Mailbox
from tests.unit.notifications.conftest import WEBHOOK, notify, slack_texts, waiting


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
    assert slack_texts(httpserver) == ["*Version 7 is in <service>*\nAll & well"]
    assert waiting(outbox) == []


def test_a_message_that_a_channel_rejects_stays_pending_and_is_sent_later(
    mailbox: Mailbox, httpserver: HTTPServer, outbox: Path
) -> None:
    mailbox.stop()
    for number in (1, 2):
        result = notify("--subject", f"Message {number}", "--json")
        assert result.exit_code == 0
        assert json.loads(result.stdout)["pending"] == {"mail": 2 * number}
    assert len(httpserver.log) == 2, "the other channel still sends"
    assert waiting(outbox) == ["mail"] * 4
    mailbox.start()
    assert "4 delivered" in notify("--flush").stdout
    assert mailbox.subjects == ["Message 1", "Message 1", "Message 2", "Message 2"]
    assert waiting(outbox) == []


def test_a_message_that_the_webhook_rejects_stays_pending(
    mailbox: Mailbox, httpserver: HTTPServer, outbox: Path
) -> None:
    httpserver.clear()
    httpserver.expect_request(WEBHOOK).respond_with_data("no", status=503)
    assert notify("--subject", "Hello").exit_code == 0
    assert mailbox.subjects == ["Hello"] * 2
    assert waiting(outbox) == ["slack"]


def test_it_fails_when_a_message_is_neither_delivered_nor_saved(
    mailbox: Mailbox, outbox: Path
) -> None:
    outbox.write_text("no directory")
    assert notify("--subject", "Accepted").exit_code == 0
    mailbox.stop()
    result = notify("--subject", "Lost")
    assert result.exit_code == 1
    assert "neither delivered (mail: " in result.stderr


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


@pytest.mark.parametrize("arguments", [(), ("--flush", "--subject", "x"), ("--resend", "--flush")])
def test_wrong_usage_exits_with_2(arguments: tuple[str, ...]) -> None:
    assert notify(*arguments).exit_code == 2


def test_a_body_that_is_not_utf8_is_sent(mailbox: Mailbox, outbox: Path, tmp_path: Path) -> None:
    (tmp_path / "body").write_bytes(b"broken \xff byte")
    assert notify("--subject", "Log", "--body-file", str(tmp_path / "body")).exit_code == 0
    assert "broken \ufffd byte" in mailbox.mails[0].get_content()
