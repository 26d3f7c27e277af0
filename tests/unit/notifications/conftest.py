"""Both channels, with a real mail server and a real HTTP receiver."""

import json
from collections.abc import Iterator
from pathlib import Path

import pytest
from click.testing import CliRunner, Result
from pytest_httpserver import HTTPServer

from app.cli import marquee
from tests.support.mailbox import Mailbox

WEBHOOK = "/services/T0/B0/secret"


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
    httpserver.expect_request(WEBHOOK).respond_with_data("ok")
    (tmp_path / "webhook").write_text(httpserver.url_for(WEBHOOK) + "\n")
    monkeypatch.setenv("MARQUEE_SLACK_WEBHOOK_FILE", str(tmp_path / "webhook"))
    monkeypatch.setenv("MARQUEE_SMTP_HOST", f"127.0.0.1:{mailbox.port}")
    monkeypatch.setenv("MARQUEE_SMTP_TLS", "false")
    monkeypatch.setenv("MARQUEE_MAIL_FROM", "marquee@localhost")
    monkeypatch.setenv("MARQUEE_MAIL_TO", "team@localhost,boss@localhost")
    monkeypatch.setenv("MARQUEE_OUTBOX_DIR", str(tmp_path / "outbox"))
    return tmp_path / "outbox"


def notify(*arguments: str, body: str = "") -> Result:
    return CliRunner().invoke(marquee, ["notify", *arguments], input=body)


def waiting(outbox: Path, suffix: str = ".message") -> list[str]:
    """The channels of the messages in the outbox."""
    files = outbox.glob(f"*{suffix}")
    return sorted(str(json.loads(file.read_bytes())["channel"]) for file in files)


def slack_texts(httpserver: HTTPServer) -> list[str]:
    return [str(json.loads(request.get_data())["text"]) for request, _ in httpserver.log]
