"""The channels that notifications go through: e-mail and Slack's incoming webhook.

Both report why a message was not accepted, on which depends whether it is sent again.
"""

import smtplib
import ssl
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass
from email.message import EmailMessage
from email.utils import formatdate, make_msgid
from http import HTTPStatus
from urllib.parse import urlsplit

import requests

from app.addresses import parse_address
from app.notifications.errors import Cause, DeliveryError, NotificationError
from app.settings import Settings

_TIMEOUT_SECONDS = 10.0
_SMTPS_PORT = 465
#: The server ends the connection: because of its own state, or of the message.
_SMTP_CLOSING = 421
#: Replies to the sender, who is the same in all messages: closing, authentication needed or failed.
_SMTP_SENDER_UNAVAILABLE = (_SMTP_CLOSING, 454, 530, 534, 535, 538)
_HTTP_DEFERRED = (HTTPStatus.REQUEST_TIMEOUT, HTTPStatus.TOO_EARLY)
_HTTP_BUSY = (
    HTTPStatus.TOO_MANY_REQUESTS,
    HTTPStatus.BAD_GATEWAY,
    HTTPStatus.SERVICE_UNAVAILABLE,
    HTTPStatus.GATEWAY_TIMEOUT,
)


@dataclass(frozen=True)
class Channel:
    """A way to send messages.

    Attributes:
        recipients: each gets a message of its own.
        send: sends recipient, subject and body; raises `DeliveryError`.
    """

    recipients: tuple[str, ...]
    send: Callable[[str, str, str], None]


def open_channels(settings: Settings) -> dict[str, Channel]:
    """Return the configured channels by name (`mail`, `slack`); none may be configured.

    Raises:
        NotificationError: a channel is configured incompletely.
    """
    channels: dict[str, Channel] = {}
    if settings.smtp_host:
        if not (settings.mail_from and settings.mail_to):
            raise NotificationError("MARQUEE_MAIL_FROM and MARQUEE_MAIL_TO are needed to send mail")
        recipients = tuple(dict.fromkeys(settings.mail_to.split(",")))
        channels["mail"] = Channel(recipients, _MailSender(settings).send)
    if webhook := settings.slack_webhook.get_secret_value():
        channels["slack"] = Channel(("webhook",), _SlackSender(webhook).send)
    return channels


class _MailSender:
    def __init__(self, settings: Settings) -> None:
        self._settings = settings
        self._host, self._port = parse_address(settings.smtp_host)

    def send(self, recipient: str, subject: str, body: str) -> None:
        try:
            mail = self._create_mail(recipient, subject, body)
        except ValueError as error:  # characters that no mail can contain
            raise DeliveryError(Cause.REFUSED, str(error)) from error
        try:
            server = self._connect()
        except (OSError, ValueError) as error:
            raise DeliveryError(Cause.UNAVAILABLE, _describe_smtp(error)) from error
        try:
            server.send_message(mail)
        except (OSError, ValueError) as error:
            raise DeliveryError(_cause_of_smtp(error), _describe_smtp(error)) from error
        finally:
            with suppress(OSError):  # the server has accepted or refused the mail before
                server.quit()
            server.close()

    def _create_mail(self, recipient: str, subject: str, body: str) -> EmailMessage:
        sender = self._settings.mail_from
        mail = EmailMessage()
        mail["From"], mail["To"], mail["Subject"] = sender, recipient, subject
        mail["Date"] = formatdate()
        mail["Message-ID"] = make_msgid(domain=sender.rpartition("@")[2])
        mail.set_content(body)
        return mail

    def _connect(self) -> smtplib.SMTP:
        """Connect and log in.

        Raises:
            OSError: no connection (`smtplib.SMTPException` is a subclass), no TLS, wrong password.
            ValueError: the host, user or password has characters that smtplib cannot encode.
        """
        settings, host, port = self._settings, self._host, self._port
        context = ssl.create_default_context() if settings.smtp_tls else None
        server: smtplib.SMTP
        if context and port == _SMTPS_PORT:
            server = smtplib.SMTP_SSL(host, port, timeout=_TIMEOUT_SECONDS, context=context)
        else:
            server = smtplib.SMTP(host, port, timeout=_TIMEOUT_SECONDS)
        try:
            if context and port != _SMTPS_PORT:
                server.starttls(context=context)
            if settings.smtp_user:
                server.login(settings.smtp_user, settings.smtp_password.get_secret_value())
            server.ehlo_or_helo_if_needed()
        except BaseException:
            server.close()
            raise
        return server


def _cause_of_smtp(error: Exception) -> Cause:
    match error:
        case smtplib.SMTPRecipientsRefused():  # of the only recipient
            ((code, _),) = error.recipients.values()
        case smtplib.SMTPResponseException():
            code = error.smtp_code
        case smtplib.SMTPNotSupportedError() | ValueError():  # such as an address beyond ASCII
            return Cause.REFUSED
        case _:
            return Cause.INTERRUPTED
    if isinstance(error, smtplib.SMTPSenderRefused) and code in _SMTP_SENDER_UNAVAILABLE:
        return Cause.UNAVAILABLE
    if code == _SMTP_CLOSING:
        return Cause.INTERRUPTED
    return Cause.REFUSED if code >= 500 else Cause.DEFERRED  # noqa: PLR2004 - RFC 5321, 4.2.1


def _describe_smtp(error: Exception) -> str:
    reply: bytes | str
    match error:
        case smtplib.SMTPRecipientsRefused():
            ((code, reply),) = error.recipients.values()
        case smtplib.SMTPResponseException():
            code, reply = error.smtp_code, error.smtp_error
        case UnicodeError():  # its text could contain a part of the password
            return "the server's name, the user or the password has a character beyond ASCII"
        case _:
            return str(error) or type(error).__name__
    text = reply.decode(errors="replace") if isinstance(reply, bytes) else str(reply)
    return f"{code} {' '.join(text.split())}"


class _SlackSender:
    """Posts `{"text": ...}`, which the webhooks of Slack, Mattermost and others accept."""

    def __init__(self, webhook: str) -> None:
        url = urlsplit(webhook)
        if url.scheme not in ("http", "https") or not url.hostname:
            raise NotificationError("MARQUEE_SLACK_WEBHOOK is not the URL of a webhook")
        self._webhook = webhook

    def send(self, _recipient: str, subject: str, body: str) -> None:
        try:
            response = requests.post(
                self._webhook,
                json={"text": f"*{subject}*\n{body}".rstrip()},
                timeout=_TIMEOUT_SECONDS,
                allow_redirects=False,  # which would change the POST to a GET
            )
        except requests.RequestException as error:
            is_interrupted = isinstance(error, requests.ReadTimeout)
            cause = Cause.INTERRUPTED if is_interrupted else Cause.UNAVAILABLE
            # The text of the error contains the URL, which is a secret.
            raise DeliveryError(cause, type(error).__name__) from None
        status = response.status_code
        if not HTTPStatus.OK <= status < HTTPStatus.MULTIPLE_CHOICES:
            wait = response.headers.get("Retry-After", "")
            wait_seconds = float(wait) if wait.isdecimal() else 0.0
            reason = f"HTTP {status} {response.text[:200]}".strip()
            raise DeliveryError(_cause_of_http(status), reason, wait_seconds)


def _cause_of_http(status: int) -> Cause:
    if status in _HTTP_BUSY:
        return Cause.BUSY
    is_server_error = status >= HTTPStatus.INTERNAL_SERVER_ERROR
    return Cause.DEFERRED if is_server_error or status in _HTTP_DEFERRED else Cause.REFUSED
