"""What the scheduler needs to reach people and git: an operator's secrets, or empty files."""

from pathlib import Path

from app.provisioning.database import MARQUEE
from app.provisioning.secrets import ProvisioningError, operators_secret, write_private

#: Of one line each; empty means that the channel is not used.
_LINES = ("smtp_password", "slack_webhook")
#: Of many: the key that git's remote knows, and that host's own key.
_FILES = ("git_key", "git_known_hosts")


def provision_scheduler(operator: Path, target: Path) -> None:
    """Write the scheduler's secrets to `target`.

    Raises:
        ProvisioningError: one cannot be read, or holds what it must not.
    """
    for name in _LINES:
        write_private(target / name, operators_secret(operator, name) or "", owner=MARQUEE)
    for name in _FILES:
        try:
            path = operator / name
            content = path.read_text(encoding="utf-8") if path.exists() else ""
        except (OSError, UnicodeDecodeError) as error:
            raise ProvisioningError(f"secrets/{name}: cannot be read: {error}") from error
        write_private(target / name, content, owner=MARQUEE)
