"""What becomes of a message that its recipient or channel does not accept."""

import json
import time
from email.message import EmailMessage
from pathlib import Path

import pytest
import time_machine
from pytest_httpserver import HTTPServer
from werkzeug import Request, Response

from tests.support.mailbox import Mailbox
from tests.unit.notifications.conftest import WEBHOOK, notify, slack_texts, waiting


def refuse(text: str, reply: str, mailbox: Mailbox) -> None:
    """Let the server refuse the mails whose subject is `text`."""

    def answer(mail: EmailMessage) -> str:
        return reply if mail["Subject"] == text else "250 OK"

    mailbox.reply = answer


def send(*subjects: str) -> dict[str, dict[str, int]]:
    """Send messages; return the result of the last."""
    for subject in subjects:
        done = notify("--subject", subject, "--json")
        assert done.exit_code == 0, done.output
    result: dict[str, dict[str, int]] = json.loads(done.stdout)
    return result


def end_waits(outbox: Path) -> None:
    """Let all messages be due."""
    for file in outbox.glob("*.message"):
        file.write_text(json.dumps(json.loads(file.read_bytes()) | {"not_before": 0}))


@pytest.fixture
def mail_only(outbox: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.delenv("MARQUEE_SLACK_WEBHOOK_FILE")
    return outbox


def test_a_mail_that_is_refused_for_good_does_not_stop_the_next_ones(
    mailbox: Mailbox, mail_only: Path
) -> None:
    refuse("poison", "554 5.7.1 refused", mailbox)
    assert send("poison")["undeliverable"] == {"mail": 2}
    assert send("alert 1", "alert 2", "alert 3")["delivered"] == {"mail": 2}
    assert mailbox.subjects == ["alert 1"] * 2 + ["alert 2"] * 2 + ["alert 3"] * 2
    assert (waiting(mail_only), waiting(mail_only, ".undeliverable")) == ([], ["mail"] * 2)
    (file, _) = mail_only.glob("*.undeliverable")
    assert json.loads(file.read_bytes())["reason"] == "554 5.7.1 refused"


def test_a_mail_that_is_refused_for_now_does_not_stop_the_next_ones(
    mailbox: Mailbox, mail_only: Path
) -> None:
    refuse("greylisted", "451 4.7.1 try again later", mailbox)
    assert send("greylisted")["pending"] == {"mail": 2}
    assert send("next") == {
        "delivered": {"mail": 2}, "pending": {"mail": 2}, "undeliverable": {},
        "configured": ["mail"],
    }  # fmt: skip
    refuse("", "", mailbox)
    assert "2 pending" in notify("--flush").stdout, "its wait is not over"
    end_waits(mail_only)
    assert "2 delivered" in notify("--flush").stdout
    assert mailbox.subjects == ["next"] * 2 + ["greylisted"] * 2


def test_a_mail_that_is_never_accepted_is_undeliverable_after_twelve_tries(
    mailbox: Mailbox, mail_only: Path
) -> None:
    refuse("greylisted", "451 4.7.1 try again later", mailbox)
    assert send("greylisted")["pending"] == {"mail": 2}
    for _ in range(10):
        end_waits(mail_only)
        assert "2 pending" in notify("--flush").stdout
    end_waits(mail_only)
    assert "2 undeliverable" in notify("--flush").stdout
    assert waiting(mail_only) == []


def test_a_server_that_is_down_uses_up_no_try(mailbox: Mailbox, mail_only: Path) -> None:
    mailbox.stop()
    assert send("first")["pending"] == {"mail": 2}
    for _ in range(15):
        assert "2 pending" in notify("--flush").stdout
    mailbox.start()
    assert "2 delivered" in notify("--flush").stdout


def test_messages_are_sent_in_their_order_after_the_server_was_down(
    mailbox: Mailbox, mail_only: Path
) -> None:
    mailbox.stop()
    send("1", "2", "3")
    mailbox.start()
    assert "6 delivered" in notify("--flush").stdout
    assert mailbox.subjects == ["1"] * 2 + ["2"] * 2 + ["3"] * 2


def test_no_message_waits_longer_than_five_days(
    mailbox: Mailbox, outbox: Path, httpserver: HTTPServer
) -> None:
    """Neither for a server that is down nor for one that accepts nothing (HTTP 429)."""
    mailbox.stop()
    httpserver.clear()
    httpserver.expect_request(WEBHOOK).respond_with_data("slow down", status=429)
    start = time.time()
    assert send("old")["pending"] == {"mail": 2, "slack": 1}
    with time_machine.travel(start + 4.9 * 86400):
        for _ in range(20):
            assert "undeliverable" not in notify("--flush").stdout
        assert send("new")["pending"] == {"mail": 4, "slack": 2}
    with time_machine.travel(start + 5.1 * 86400):
        for _ in range(3):
            flushed = json.loads(notify("--flush", "--json").stdout)
        assert flushed["pending"] == {"mail": 2, "slack": 1}
        mailbox.start()
        assert "2 delivered" in notify("--flush").stdout
        assert mailbox.subjects == ["new"] * 2
        assert json.loads(notify("--resend", "--json").stdout)["delivered"] == {"mail": 2}
    assert waiting(outbox, ".undeliverable") == []


@pytest.mark.parametrize("code", ["550 5.1.1 no such user", "450 4.2.1 mailbox busy"])
def test_a_recipient_that_is_refused_does_not_stop_the_others(
    code: str, mailbox: Mailbox, mail_only: Path
) -> None:
    mailbox.replies["boss@localhost"] = code
    state = "undeliverable" if code.startswith("5") else "pending"
    result = send("hello")
    assert (result["delivered"], result[state]) == ({"mail": 1}, {"mail": 1})
    assert [mail["To"] for mail in mailbox.mails] == ["team@localhost"]
    del mailbox.replies["boss@localhost"]
    end_waits(mail_only)
    assert notify("--resend").exit_code == 0
    assert [mail["To"] for mail in mailbox.mails] == ["team@localhost", "boss@localhost"]


@pytest.mark.parametrize(
    "reply", ["421 4.7.0 closing", "454 4.7.1 relay denied", "530 5.7.1 log in", "535 5.7.8 no"]
)
def test_a_recipient_whose_reply_is_one_about_the_server_does_not_stop_the_others(
    reply: str, mailbox: Mailbox, mail_only: Path
) -> None:
    mailbox.replies["team@localhost"] = reply
    send("hello")
    notify("--flush")
    assert [mail["To"] for mail in mailbox.mails] == ["boss@localhost"]


@pytest.mark.parametrize("reply", ["421 4.7.0 closing", "454 4.7.0 try again later"])
def test_a_mail_at_which_the_server_gives_a_reply_about_itself_does_not_stop_the_others(
    reply: str, mailbox: Mailbox, mail_only: Path
) -> None:
    refuse("poison", reply, mailbox)
    send("poison", "next")
    notify("--flush")
    assert mailbox.subjects == ["next"] * 2
    for _ in range(24):  # one of the two is tried each time
        end_waits(mail_only)
        notify("--flush")
    assert (waiting(mail_only), waiting(mail_only, ".undeliverable")) == ([], ["mail"] * 2)


@pytest.mark.parametrize(
    "changes",
    [{"SMTP_HOST": "a..b:25"}, {"SMTP_USER": "me", "SMTP_PASSWORD": "pässwörter"}],
    ids=["host", "password"],
)
def test_settings_that_smtp_cannot_encode_leave_the_message_pending(
    changes: dict[str, str], mail_only: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name, value in changes.items():
        monkeypatch.setenv(f"MARQUEE_{name}", value)
    done = notify("--subject", "hello")
    assert (done.exit_code, done.stdout) == (0, "mail: 2 pending\n")
    assert "beyond ASCII" in done.stderr
    assert "\\xe4" not in done.stderr + done.stdout


def test_what_is_no_file_does_not_stop_the_messages(mailbox: Mailbox, mail_only: Path) -> None:
    (mail_only / "0-mail.message").mkdir(parents=True)
    assert send("hello")["delivered"] == {"mail": 2}


def test_resend_sends_undeliverable_messages_again(mailbox: Mailbox, mail_only: Path) -> None:
    refuse("poison", "554 5.7.1 refused", mailbox)
    send("poison")
    assert "2 undeliverable" in notify("--resend").stdout
    refuse("", "", mailbox)
    assert "2 delivered" in notify("--resend").stdout
    assert mailbox.subjects == ["poison"] * 2
    assert list(mail_only.glob("[!.]*")) == []


@pytest.mark.parametrize(
    ("status", "state"),
    [
        (400, "undeliverable"),
        (404, "undeliverable"),
        (302, "undeliverable"),
        (429, "pending"),
        (500, "pending"),
        (503, "pending"),
    ],
)
def test_the_webhook_refuses_for_good_or_for_now(
    status: int, state: str, httpserver: HTTPServer, outbox: Path
) -> None:
    def answer(request: Request) -> Response:
        is_poison = b"poison" in request.get_data()
        return Response("no", status if is_poison else 200, {"Location": "/elsewhere"})

    httpserver.clear()
    httpserver.expect_request(WEBHOOK).respond_with_handler(answer)
    result = send("poison")
    assert result[state] == {"slack": 1}
    assert result["delivered"] == {"mail": 2}
    if status in (429, 503):  # about the webhook, not about the message
        end_waits(outbox)
        assert send("next")["pending"] == {"slack": 2}, "not tried after the first has failed"
        notify("--flush")
        assert waiting(outbox) == ["slack"], "what has failed last comes last"
        assert "*next*" in slack_texts(httpserver)
    else:
        assert send("next")["delivered"] == {"mail": 2, "slack": 1}
        assert slack_texts(httpserver) == ["*poison*", "*next*"]


def test_the_webhook_says_how_long_to_wait(httpserver: HTTPServer, outbox: Path) -> None:
    httpserver.clear()
    httpserver.expect_request(WEBHOOK).respond_with_data(
        "slow down", status=429, headers={"Retry-After": "300"}
    )
    send("hello")
    notify("--flush")
    assert len(httpserver.log) == 1
    (file,) = outbox.glob("*-slack.message")
    assert json.loads(file.read_bytes())["tries"] == 0


def test_the_url_of_the_webhook_is_secret(outbox: Path, httpserver: HTTPServer) -> None:
    httpserver.stop()
    try:
        done = notify("--subject", "hello")
    finally:
        httpserver.start()
    assert "1 pending" in done.output
    assert "T0/B0" not in done.output + done.stderr + "".join(
        file.read_text() for file in outbox.glob("*.message")
    )


def test_a_channel_or_recipient_that_is_removed_leaves_nothing_waiting(
    mailbox: Mailbox, outbox: Path, httpserver: HTTPServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    mailbox.stop()
    httpserver.clear()
    httpserver.expect_request(WEBHOOK).respond_with_data("no", status=503)
    assert send("hello")["pending"] == {"mail": 2, "slack": 1}
    monkeypatch.delenv("MARQUEE_SLACK_WEBHOOK_FILE")
    monkeypatch.setenv("MARQUEE_MAIL_TO", "team@localhost")
    mailbox.start()
    flushed = json.loads(notify("--flush", "--json").stdout)
    assert flushed["delivered"] == {"mail": 1}
    assert flushed["undeliverable"] == {"mail": 1, "slack": 1}
    assert waiting(outbox) == []
    monkeypatch.delenv("MARQUEE_SMTP_HOST")
    assert notify("--resend").exit_code == 0
    assert (waiting(outbox), len(list(outbox.glob("*.undeliverable")))) == ([], 2)


def test_a_message_that_is_not_sent_without_channels_leaves_nothing_waiting(
    mailbox: Mailbox, mail_only: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    mailbox.stop()
    assert send("hello")["pending"] == {"mail": 2}
    monkeypatch.delenv("MARQUEE_SMTP_HOST")
    assert send("again")["undeliverable"] == {"mail": 2}
    assert waiting(mail_only) == []


def test_a_message_of_version_0_2_0_goes_to_every_recipient(mailbox: Mailbox, outbox: Path) -> None:
    outbox.mkdir()
    message = {"channel": "mail", "subject": "old \udcc3", "body": "text"}
    (outbox / "1-mail.message").write_text(json.dumps(message))
    assert "2 delivered" in notify("--flush").stdout
    assert [mail["To"] for mail in mailbox.mails] == ["team@localhost", "boss@localhost"]
    assert mailbox.subjects == ["old ?"] * 2
    assert list(outbox.glob("[!.]*")) == []
