"""Alertmanager's configuration: the template, with the configured channels as receivers."""

from pathlib import Path

from app.provisioning.secrets import ProvisioningError, read_operator_secret, write_private_file
from app.settings import Settings
from app.text_files import TextError, decode_text

#: User id of Alertmanager's process (the default user of its image).
_ALERTMANAGER_UID = 65534


def provision_alertmanager(
    template: Path, target: Path, operator: Path, settings: Settings
) -> list[str]:
    """Write `target/alertmanager.yml` and its secrets; return the names of the channels.

    The template ends with a receiver without channels, to which the configured ones are appended.
    Without any the configuration is valid and sends nothing.

    Raises:
        ProvisioningError: the template cannot be read, or a channel is configured incompletely.
    """
    try:
        content = decode_text(template.read_bytes())
    except OSError as error:
        raise ProvisioningError(f"{template}: cannot be read: {error.strerror}") from error
    except TextError as error:
        raise ProvisioningError(f"{template}: {error}") from error
    channels = {
        "mail": _mail_config(target, operator, settings),
        "slack": _slack_config(target, operator),
    }
    content += "".join(text for text in channels.values() if text)
    write_private_file(target / "alertmanager.yml", content, owner=_ALERTMANAGER_UID)
    return [name for name, text in channels.items() if text]


def _mail_config(target: Path, operator: Path, settings: Settings) -> str:
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
    password = read_operator_secret(operator, "smtp_password")
    if settings.smtp_user and password:
        write_private_file(target / "smtp_password", password, owner=_ALERTMANAGER_UID)
        text += (
            f"        auth_username: '{settings.smtp_user}'\n"
            "        auth_password_file: smtp_password\n"
        )
    return text


def _slack_config(target: Path, operator: Path) -> str:
    webhook = read_operator_secret(operator, "slack_webhook")
    if webhook is None:
        return ""
    write_private_file(target / "slack_webhook", webhook, owner=_ALERTMANAGER_UID)
    return (
        "    slack_configs:\n"
        "      - api_url_file: slack_webhook\n"
        "        send_resolved: true\n"
        "        title: '{{ template \"marquee.title\" . }}'\n"
        "        text: '{{ template \"marquee.text\" . }}'\n"
    )
