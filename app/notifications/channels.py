"""The channels that notifications go through: e-mail and Slack's incoming webhook, by apprise."""

from collections.abc import Callable
from urllib.parse import urlsplit

from apprise import Apprise

from app.addresses import parse_address
from app.notifications.errors import NotificationError
from app.settings import Settings

#: Sends a subject and a body; returns whether the other side accepted them.
Channel = Callable[[str, str], bool]
_SMTPS_PORT = 465


def open_channels(settings: Settings) -> dict[str, Channel]:
    """Return the configured channels by name (`mail`, `slack`); none may be configured.

    Raises:
        NotificationError: a channel is configured incompletely.
    """
    channels: dict[str, Channel] = {}
    if settings.smtp_host:
        channels["mail"] = _mail_channel(settings)
    if webhook := settings.slack_webhook.get_secret_value():
        channels["slack"] = _slack_channel(webhook)
    return channels


def _mail_channel(settings: Settings) -> Channel:
    if not (settings.mail_from and settings.mail_to):
        raise NotificationError("MARQUEE_MAIL_FROM and MARQUEE_MAIL_TO are needed to send mail")
    host, port = parse_address(settings.smtp_host)
    secure_mode = "ssl" if port == _SMTPS_PORT else "starttls"
    server = _open_server(
        "mail",
        schema="mailtos" if settings.smtp_tls else "mailto",
        host=host,
        smtp_host=host,
        port=port,
        user=settings.smtp_user or None,
        password=settings.smtp_password.get_secret_value() or None,
        from_addr=settings.mail_from,
        targets=settings.mail_to.split(","),
        secure_mode=secure_mode if settings.smtp_tls else "insecure",
        format="text",
    )

    def send(subject: str, body: str) -> bool:
        # apprise sends nothing without a body.
        return bool(server.notify(body or subject, subject, body_format="text"))

    return send


def _slack_channel(webhook: str) -> Channel:
    """Post `{"text": ...}`, which the webhooks of Slack, Mattermost and others accept."""
    url = urlsplit(webhook)
    if url.scheme not in ("http", "https") or not url.hostname:
        raise NotificationError("MARQUEE_SLACK_WEBHOOK is not the URL of a webhook")
    server = _open_server(
        "slack",
        schema="jsons" if url.scheme == "https" else "json",
        host=url.hostname,
        port=url.port,
        fullpath=url.path,
        payload={"message": "text", "title": "", "version": "", "attachments": "", "type": ""},
        format="text",
    )

    def send(subject: str, body: str) -> bool:
        return bool(server.notify(f"*{subject}*\n{body}", body_format="text"))

    return send


def _open_server(name: str, **description: object) -> Apprise:
    server = Apprise()
    if not server.add(description):
        raise NotificationError(f"apprise rejects the configuration of the channel {name}")
    return server
