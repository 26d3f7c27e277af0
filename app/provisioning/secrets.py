"""Secrets as files: the operator's, or random ones that are generated once."""

import os
import secrets
from collections.abc import Sequence
from pathlib import Path

from app.cli_errors import MarqueeError
from app.text_files import TextError, decode_text

#: User id of the application's own processes, such as the shipper and the scheduler.
MARQUEE_UID = 10001
#: Secrets go into SQL and shell strings: quotes, backslashes and line ends are not allowed.
_FORBIDDEN_CHARACTERS = set("'\"\\\n\r\0")
#: The scheduler's secrets of one line; an empty file turns the channel off.
_SCHEDULER_SECRETS = ("smtp_password", "slack_webhook")
#: The scheduler's files of several lines: the SSH key for the git remote, and that host's key.
_SCHEDULER_FILES = ("git_key", "git_known_hosts")
#: The collector's, for a broker with SASL or TLS.
_COLLECTOR_SECRETS = ("kafka_password",)
_COLLECTOR_FILES = ("kafka_ca", "kafka_certificate", "kafka_key")


class ProvisioningError(MarqueeError):
    """The operator has to correct a secret or a setting; the message says what."""


def read_operator_secret(directory: Path, name: str) -> str | None:
    """Return the operator's secret in `directory/name`, or None where there is no such file.

    Raises:
        ProvisioningError: it cannot be read, is empty or has forbidden characters.
    """
    secret = read_operator_file(directory, name)
    if secret is None:
        return None
    secret = secret.strip()
    if not secret or _FORBIDDEN_CHARACTERS & set(secret):
        raise ProvisioningError(
            f"secrets/{name}: empty, or contains quotes, backslashes or line ends"
        )
    return secret


def read_operator_file(directory: Path, name: str) -> str | None:
    """Return the text of the operator's file `directory/name`, or None where there is no such file.

    Raises:
        ProvisioningError: it cannot be read.
    """
    path = directory / name
    try:
        return decode_text(path.read_bytes()) if path.exists() else None
    except (OSError, TextError) as error:
        raise ProvisioningError(f"secrets/{name}: cannot be read: {error}") from error


def get_or_generate_secret(path: Path, operator_secret: str | None) -> str:
    """Return the secret stored in `path`.

    The operator's secret replaces a stored one; without either, a random one is generated.
    """
    if operator_secret is None and path.exists():
        return path.read_text(encoding="utf-8")
    secret = operator_secret or secrets.token_urlsafe(32)
    write_private_file(path, secret)
    return secret


def provision_scheduler(operator: Path, target: Path) -> None:
    """Copy the operator's secrets for the scheduler to `target`; missing ones as empty files.

    Raises:
        ProvisioningError: a secret cannot be read or has forbidden characters.
    """
    _copy_secrets(operator, target, _SCHEDULER_SECRETS, _SCHEDULER_FILES)


def provision_collector(operator: Path, target: Path) -> None:
    """Copy the operator's secrets for the collector to `target`; missing ones as empty files.

    Raises:
        ProvisioningError: a secret cannot be read or has forbidden characters.
    """
    _copy_secrets(operator, target, _COLLECTOR_SECRETS, _COLLECTOR_FILES)


def provision_console(operator: Path, target: Path, orders: Path) -> None:
    """Copy the operator's `console_token` to `target`, an empty file without one.

    With a token the console writes orders: `orders/pending` is created and becomes its directory.
    Only the console can write there, and the host's user can read what it writes.

    Raises:
        ProvisioningError: the token cannot be read or has forbidden characters.
    """
    _copy_secrets(operator, target, ("console_token",), ())
    if read_operator_secret(operator, "console_token"):
        pending = orders / "pending"
        pending.mkdir(mode=0o755, parents=True, exist_ok=True)
        os.chown(pending, MARQUEE_UID, MARQUEE_UID)


def write_private_file(path: Path, content: str, owner: int | None = None) -> None:
    """Write a file atomically that only its owner (a user id) can read."""
    temporary = path.with_name(f".{path.name}.temporary")
    temporary.unlink(missing_ok=True)
    descriptor = os.open(temporary, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o400)
    with os.fdopen(descriptor, "w", encoding="utf-8") as file:
        file.write(content)
        file.flush()
        os.fsync(file.fileno())
    if owner is not None:
        os.chown(temporary, owner, owner)
    temporary.replace(path)


def _copy_secrets(
    operator: Path, target: Path, secrets_of_a_line: Sequence[str], files: Sequence[str]
) -> None:
    for name in secrets_of_a_line:
        secret = read_operator_secret(operator, name) or ""
        write_private_file(target / name, secret, owner=MARQUEE_UID)
    for name in files:
        content = read_operator_file(operator, name) or ""
        write_private_file(target / name, content, owner=MARQUEE_UID)
