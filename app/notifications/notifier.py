"""Send notifications. Each message waits in the outbox directory until its channel accepts it."""

import json
import time
from dataclasses import dataclass, field
from pathlib import Path

from app import logs
from app.atomic_files import write_file
from app.locks import exclusive_lock
from app.notifications.channels import Channel
from app.notifications.errors import NotificationError
from app.text_files import parse_json

#: Characters; some mail servers accept no longer lines or messages.
MAX_BODY = 30_000
MAX_SUBJECT = 200
_SUFFIX = ".message"
_LOCK = ".lock"

_log = logs.get(__name__)


@dataclass
class DeliveryResult:
    """How many messages were delivered, and how many are still pending, by channel."""

    delivered: dict[str, int] = field(default_factory=dict)
    pending: dict[str, int] = field(default_factory=dict)


class Notifier:
    """Sends messages through all channels; one that fails stops neither the others nor the caller.

    Args:
        outbox: directory of the pending messages; created when needed. A message is a JSON file
            with the keys `channel`, `subject` and `body`.
        channels: by name.
    """

    def __init__(self, outbox: Path, channels: dict[str, Channel]) -> None:
        self._outbox = outbox
        self._channels = channels

    def send(self, subject: str, body: str, key: str | None = None) -> DeliveryResult:
        """Send a message, after the pending ones.

        Args:
            subject: one line, cut to `MAX_SUBJECT`.
            body: text; beyond `MAX_BODY` its middle is removed.
            key: replaces a pending message with the same key, so that a caller that was killed
                may send again without a duplicate.

        Raises:
            NotificationError: a channel failed, and the message could not be saved either.
        """
        # Bytes of the command line that are no UTF-8 would be refused by the channels.
        subject, body = (text.encode(errors="replace").decode() for text in (subject, body))
        subject = " ".join(subject.split())[:MAX_SUBJECT]
        body = _shorten(body)
        if not self._channels:
            _log.info("notification not sent: no channel is configured", subject=subject)
            return DeliveryResult()
        try:
            self._save(subject, body, key)
        except OSError as error:
            _log.error("cannot write the outbox", outbox=str(self._outbox), error=str(error))
            return self._send_without_outbox(subject, body, str(error))
        return self.flush()

    def flush(self) -> DeliveryResult:
        """Send the pending messages, oldest first; a channel that fails is not tried again."""
        result = DeliveryResult()
        if not self._outbox.is_dir():
            return result
        # One sender at a time, so that no message is sent twice.
        with exclusive_lock(self._outbox / _LOCK, timeout_seconds=-1):
            for path in sorted(pending_messages(self._outbox), key=lambda p: p.stat().st_mtime):
                self._deliver(path, result)
        if result.pending:
            _log.warning("messages are pending", **result.pending)
        return result

    def _save(self, subject: str, body: str, key: str | None) -> None:
        self._outbox.mkdir(parents=True, exist_ok=True)
        for channel in self._channels:
            message = {"channel": channel, "subject": subject, "body": body}
            name = f"{key or time.time_ns()}-{channel}{_SUFFIX}"
            write_file(self._outbox / name, json.dumps(message).encode())

    def _deliver(self, path: Path, result: DeliveryResult) -> None:
        try:
            message = parse_json(path.read_bytes())
            name, subject, body = (message[key] for key in ("channel", "subject", "body"))
            if not all(isinstance(text, str) for text in (name, subject, body)):
                raise TypeError("a value is no text")
        except (ValueError, KeyError, TypeError) as error:
            path.rename(path.with_suffix(".damaged"))
            _log.error("damaged message renamed to .damaged", file=path.name, error=str(error))
            return
        channel = self._channels.get(name)
        if name in result.pending or channel is None or not channel(subject, body):
            result.pending[name] = result.pending.get(name, 0) + 1
            return
        path.unlink()
        result.delivered[name] = result.delivered.get(name, 0) + 1
        _log.info("message delivered", channel=name, subject=subject)

    def _send_without_outbox(self, subject: str, body: str, reason: str) -> DeliveryResult:
        accepted = {name: channel(subject, body) for name, channel in self._channels.items()}
        if failed := [name for name, delivered in accepted.items() if not delivered]:
            raise NotificationError(f"neither delivered ({', '.join(failed)}) nor saved: {reason}")
        return DeliveryResult(delivered=dict.fromkeys(accepted, 1))


def pending_messages(outbox: Path) -> list[Path]:
    """Return the files of the messages that no channel has accepted yet."""
    return list(outbox.glob(f"[!.]*{_SUFFIX}"))


def _shorten(body: str) -> str:
    if len(body) <= MAX_BODY:
        return body
    half = MAX_BODY // 2
    return f"{body[:half]}\n[... {len(body) - MAX_BODY:,} characters removed ...]\n{body[-half:]}"
