"""Alertmanager's configuration: the template of the tree, and the channels that are configured."""

from pathlib import Path

from app.provisioning.secrets import ProvisioningError, operators_secret, write_private
from app.settings import Settings

#: User id of Alertmanager's process (nobody).
ALERTMANAGER = 65534


def provision_alertmanager(
    template: Path, target: Path, operator: Path, settings: Settings
) -> list[str]:
    """Write `target/alertmanager.yml`; returns the channels that are on.

    The template ends with a receiver without channels; what is configured is appended to it, so
    that without any the configuration is whole, idle and healthy.

    Raises:
        ProvisioningError: the template cannot be read, or a channel is configured by half.
    """
    try:
        content = template.read_text(encoding="utf-8")
    except OSError as error:
        raise ProvisioningError(f"{template}: cannot be read: {error.strerror}") from error
    channels = {
        "mail": _mail(target, operator, settings),
        "slack": _slack(target, operator),
    }
    content += "".join(text for text in channels.values() if text)
    write_private(target / "alertmanager.yml", content, owner=ALERTMANAGER)
    return [name for name, text in channels.items() if text]


def _mail(target: Path, operator: Path, settings: Settings) -> str:
    if not settings.smtp_host:
        return ""
    if not (settings.mail_from and settings.mail_to):
        raise ProvisioningError("MARQUEE_MAIL_FROM and MARQUEE_MAIL_TO are needed to send mail")
    text = (
        "    email_configs:\n"
        f"      - to: '{settings.mail_to}'\n"
        f"        from: '{settings.mail_from}'\n"
        f"        smarthost: '{settings.smtp_host}'\n"
        f"        require_tls: {str(settings.smtp_tls).lower()}\n"
        "        send_resolved: true\n"
    )
    password = operators_secret(operator, "smtp_password")
    if settings.smtp_user and password:
        write_private(target / "smtp_password", password, owner=ALERTMANAGER)
        text += (
            f"        auth_username: '{settings.smtp_user}'\n"
            "        auth_password_file: smtp_password\n"
        )
    return text


def _slack(target: Path, operator: Path) -> str:
    webhook = operators_secret(operator, "slack_webhook")
    if webhook is None:
        return ""
    write_private(target / "slack_webhook", webhook, owner=ALERTMANAGER)
    return (
        "    slack_configs:\n"
        "      - api_url_file: slack_webhook\n"
        "        send_resolved: true\n"
        "        title: '{{ template \"marquee.title\" . }}'\n"
        "        text: '{{ template \"marquee.text\" . }}'\n"
    )
