"""Ways to people, by apprise: e-mail, and Slack's incoming webhook."""

from collections.abc import Callable
from urllib.parse import urlsplit

from apprise import Apprise

from app.auto_deployment.errors import DeploymentError
from app.settings import Settings

#: Sends subject and body; whether the other side took them.
Channel = Callable[[str, str], bool]
_SMTPS_PORT = 465


def channels(settings: Settings) -> dict[str, Channel]:
    """The configured channels by name; none is fine.

    Raises:
        DeploymentError: a channel is configured by half.
    """
    found: dict[str, Channel] = {}
    if settings.smtp_host:
        found["mail"] = _mail(settings)
    if webhook := settings.slack_webhook.get_secret_value():
        found["slack"] = _slack(webhook)
    return found


def _mail(settings: Settings) -> Channel:
    if not (settings.mail_from and settings.mail_to):
        raise DeploymentError("MARQUEE_MAIL_FROM and MARQUEE_MAIL_TO are needed to send mail")
    host, _, port = settings.smtp_host.rpartition(":")
    secure = "ssl" if int(port) == _SMTPS_PORT else "starttls"
    server = _open(
        "mail",
        schema="mailtos" if settings.smtp_tls else "mailto",
        host=host,
        smtp_host=host,
        port=int(port),
        user=settings.smtp_user or None,
        password=settings.smtp_password.get_secret_value() or None,
        from_addr=settings.mail_from,
        targets=settings.mail_to.split(","),
        secure_mode=secure if settings.smtp_tls else "insecure",
        format="text",
    )

    def send(subject: str, body: str) -> bool:
        # apprise sends nothing without a body.
        return bool(server.notify(body or subject, subject, body_format="text"))

    return send


def _slack(webhook: str) -> Channel:
    """A webhook takes `{"text": …}`, as those of Mattermost and others do, wherever it lies."""
    url = urlsplit(webhook)
    if url.scheme not in ("http", "https") or not url.hostname:
        raise DeploymentError("MARQUEE_SLACK_WEBHOOK is not the address of a webhook")
    server = _open(
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


def _open(name: str, **description: object) -> Apprise:
    server = Apprise()
    if not server.add(description):
        raise DeploymentError(f"the channel {name} cannot be used as it is configured")
    return server
