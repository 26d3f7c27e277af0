"""Secrets as files: an operator's own where given, random ones where not, never replaced after."""

import os
import secrets
from pathlib import Path

#: A secret is a line: what opens a shell's or SQL's quotes must not stand in it.
_FORBIDDEN = set("'\"\\\n\r\0")


class ProvisioningError(Exception):
    """Something an operator has to mend; the message says what."""


def operators_secret(directory: Path, name: str) -> str | None:
    """What an operator put into `directory/name`; None where there is no such file.

    Raises:
        ProvisioningError: it cannot be read, is empty or holds quotes, backslashes or line ends.
    """
    path = directory / name
    if not path.exists():
        return None
    try:
        secret = path.read_text(encoding="utf-8").strip()
    except (OSError, UnicodeDecodeError) as error:
        raise ProvisioningError(f"secrets/{name}: cannot be read: {error}") from error
    if not secret or _FORBIDDEN & set(secret):
        raise ProvisioningError(f"secrets/{name}: empty, or holds quotes, backslashes or line ends")
    return secret


def kept_secret(kept: Path, given: str | None) -> str:
    """The secret in `kept`: made at random the first time, replaced only by a given one."""
    if given is None and kept.exists():
        return kept.read_text(encoding="utf-8")
    secret = given or secrets.token_urlsafe(32)
    write_private(kept, secret)
    return secret


def write_private(path: Path, content: str, owner: int | None = None) -> None:
    """Write a file that only its owner (a user id) reads, aside and renamed into place."""
    aside = path.with_name(f".{path.name}.aside")
    aside.unlink(missing_ok=True)
    descriptor = os.open(aside, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o400)
    with os.fdopen(descriptor, "w", encoding="utf-8") as file:
        file.write(content)
        file.flush()
        os.fsync(file.fileno())
    if owner is not None:
        os.chown(aside, owner, owner)
    aside.replace(path)
