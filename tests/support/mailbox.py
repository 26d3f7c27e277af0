"""A mail server that stores the mails it receives, for tests to read."""

from collections.abc import Callable
from email import message_from_bytes, policy
from email.message import EmailMessage
from typing import Any

from aiosmtpd.controller import Controller

from tests.support.service import free_port

_ACCEPTED = "250 OK"


class Mailbox:
    """An SMTP server on a free port of the loopback address.

    Attributes:
        mails: what it received.
        replies: replies to recipients that are not accepted, by address.
        reply: the reply to a mail, which is stored only if it begins with 250.
    """

    def __init__(self) -> None:
        self.mails: list[EmailMessage] = []
        self.replies: dict[str, str] = {}
        self.reply: Callable[[EmailMessage], str] = lambda _mail: _ACCEPTED
        self.port = free_port()
        self._controller: Any = None

    async def handle_RCPT(  # noqa: N802
        self, server: object, session: object, envelope: Any, address: str, options: object
    ) -> str:
        if address in self.replies:
            return self.replies[address]
        envelope.rcpt_tos.append(address)
        return _ACCEPTED

    async def handle_DATA(self, server: object, session: object, envelope: Any) -> str:  # noqa: N802
        mail = message_from_bytes(envelope.content, policy=policy.default)
        assert isinstance(mail, EmailMessage)
        reply = self.reply(mail)
        if reply.startswith("250"):
            self.mails.append(mail)
        return reply

    def start(self) -> None:
        self._controller = Controller(
            self, hostname="127.0.0.1", port=self.port, auth_require_tls=False
        )
        self._controller.start()

    def stop(self) -> None:
        if self._controller is not None:
            self._controller.stop()
        self._controller = None

    @property
    def subjects(self) -> list[str]:
        return [str(mail["Subject"]) for mail in self.mails]
