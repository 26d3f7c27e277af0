"""Send notifications. Each message waits in the outbox directory until its recipient has it.

A message that is sent to several recipients or channels is one file for each. So what one of them
refuses neither delays nor repeats the others.
"""

import hashlib
import json
import time
from contextlib import suppress
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path

from app import logs
from app.atomic_files import write_file
from app.locks import exclusive_lock
from app.notifications.channels import Channel
from app.notifications.errors import Cause, DeliveryError, NotificationError
from app.text_files import parse_json

#: Characters; some mail servers accept no longer lines or messages.
MAX_BODY = 30_000
MAX_SUBJECT = 200
#: Tries of one message, between which the wait doubles: together about seven hours. Not counted
#: are those in which the server accepted no message at all.
MAX_TRIES = 12
#: After this time a message is not tried again, whatever the reason: five days, which RFC 5321
#: (4.5.4.1) recommends to mail servers.
MAX_AGE_SECONDS = 5 * 86400.0
_MIN_WAIT_SECONDS = 60.0
_MAX_WAIT_SECONDS = 3600.0
_SUFFIX = ".message"
_UNDELIVERABLE_SUFFIX = ".undeliverable"
_DAMAGED_SUFFIX = ".damaged"
_UNDELIVERABLE_SUFFIXES = (_UNDELIVERABLE_SUFFIX, _DAMAGED_SUFFIX)
_LOCK = ".lock"

_log = logs.get(__name__)


@dataclass
class DeliveryResult:
    """How many messages were delivered, are pending, or became undeliverable, by channel.

    Messages are counted for each recipient.
    """

    delivered: dict[str, int] = field(default_factory=dict)
    pending: dict[str, int] = field(default_factory=dict)
    undeliverable: dict[str, int] = field(default_factory=dict)

    def count(self, state: dict[str, int], channel: str) -> None:
        """Count a message of `channel` in one of the attributes."""
        state[channel] = state.get(channel, 0) + 1


@dataclass(frozen=True)
class _Message:
    """The content of a file of the outbox.

    Attributes:
        recipient: a mail address; empty in files of version 0.2.0, which are for all recipients.
        tries: how often the server has not accepted this message.
        not_before: time of the next try, in seconds since 1970.
        created: time of the message, in seconds since 1970; by default that of its file.
        reason: why the last try failed.
    """

    channel: str
    recipient: str
    subject: str
    body: str
    tries: int = 0
    not_before: float = 0.0
    created: float = field(default_factory=time.time)
    reason: str = ""

    @classmethod
    def read(cls, path: Path) -> "_Message":
        """Read a file.

        Raises:
            ValueError: the file is damaged.
        """
        content, written = parse_json(path.read_bytes()), path.stat().st_mtime
        try:
            texts = [content[key] for key in ("channel", "subject", "body")]
            recipient, reason = content.get("recipient", ""), content.get("reason", "")
            tries, not_before = content.get("tries", 0), content.get("not_before", 0.0)
            created = content.get("created", written)
        except (KeyError, TypeError, AttributeError) as error:
            raise ValueError(f"not a message: {error}") from error
        if not all(isinstance(text, str) for text in (*texts, recipient, reason)):
            raise ValueError("a value is no text")
        times = (not_before, created)
        if not (isinstance(tries, int) and all(isinstance(time_, int | float) for time_ in times)):
            raise ValueError("a value is no number")
        channel, subject, body = (_replace_invalid(text) for text in texts)
        return cls(channel, recipient, subject, body, tries, not_before, created, reason)

    def is_due(self) -> bool:
        """Whether the wait is over, or longer than any wait because the clock was changed."""
        return not 0 < self.not_before - time.time() <= _MAX_WAIT_SECONDS

    def write(self, path: Path) -> None:
        """Write the file atomically."""
        write_file(path, json.dumps(asdict(self)).encode())


class Notifier:
    """Sends messages through all channels; one that fails stops neither the others nor the caller.

    Args:
        outbox: directory of the pending messages; created when needed.
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
        subject, body = _replace_invalid(subject), _replace_invalid(body)
        subject = " ".join(subject.split())[:MAX_SUBJECT]
        body = _shorten(body)
        if not self._channels:
            _log.info("notification not sent: no channel is configured", subject=subject)
            return self.flush()  # of messages for channels that were removed
        messages = [
            _Message(name, recipient, subject, body)
            for name, channel in self._channels.items()
            for recipient in channel.recipients
        ]
        try:
            self._save(messages, key or str(time.time_ns()))
        except OSError as error:
            _log.error("cannot write the outbox", outbox=str(self._outbox), error=str(error))
            return self._send_without_outbox(messages, str(error))
        return self.flush()

    def flush(self) -> DeliveryResult:
        """Send the pending messages that are due, oldest first.

        One that was answered with an error comes after the others, which it must not stop.

        A message that the server refuses, has not accepted in `MAX_TRIES` tries or within
        `MAX_AGE_SECONDS`, or whose channel or recipient is not configured any more, becomes
        undeliverable: its file is renamed.
        """
        result = DeliveryResult()
        if not pending_messages(self._outbox):
            return result
        failed: set[str] = set()
        # One sender at a time, so that no message is sent twice.
        with exclusive_lock(self._outbox / _LOCK, timeout_seconds=-1):
            self._split_messages_for_all()
            for path in sorted(pending_messages(self._outbox), key=lambda p: p.stat().st_mtime):
                self._deliver(path, result, failed)
        if result.pending:
            _log.warning("messages are pending", **result.pending)
        return result

    def resend(self) -> DeliveryResult:
        """Send the undeliverable messages again, as if they were new."""
        if undeliverable_messages(self._outbox):
            with exclusive_lock(self._outbox / _LOCK, timeout_seconds=-1):
                for path in self._outbox.glob(f"[!.]*{_UNDELIVERABLE_SUFFIX}"):
                    with suppress(ValueError):  # damaged since then
                        again = replace(
                            _Message.read(path), tries=0, not_before=0.0, created=time.time()
                        )
                        again.write(path)
                        path.rename(path.with_suffix(_SUFFIX))
        return self.flush()

    def _save(self, messages: list[_Message], key: str) -> None:
        self._outbox.mkdir(parents=True, exist_ok=True)
        for message in messages:
            # Addresses may contain characters that are not allowed in names of files.
            recipient = hashlib.sha256(message.recipient.encode()).hexdigest()[:12]
            message.write(self._outbox / f"{key}-{recipient}-{message.channel}{_SUFFIX}")

    def _split_messages_for_all(self) -> None:
        """Replace a message of version 0.2.0 by one for each recipient of its channel."""
        for path in pending_messages(self._outbox):
            try:
                message = _Message.read(path)
            except (OSError, ValueError):
                continue  # reported when it is to be delivered
            if not message.recipient and message.channel in self._channels:
                recipients = self._channels[message.channel].recipients
                self._save([replace(message, recipient=name) for name in recipients], path.stem)
                path.unlink()

    def _deliver(self, path: Path, result: DeliveryResult, failed: set[str]) -> None:
        """Deliver one message if it is due.

        Args:
            path: its file.
            result: counts what becomes of it.
            failed: the channels that accept no message; one that fails is added.
        """
        try:
            message = _Message.read(path)
        except ValueError as error:
            path.rename(path.with_suffix(_DAMAGED_SUFFIX))
            _log.error("damaged message renamed to .damaged", file=path.name, error=str(error))
            return
        except OSError as error:
            _log.error("cannot read a message", file=path.name, error=str(error))
            return
        name, channel = message.channel, self._channels.get(message.channel)
        if channel is None or message.recipient not in channel.recipients:
            message = replace(message, reason="the channel or recipient is not configured any more")
            self._give_up(path, message, result)
        elif name in failed or not message.is_due():
            result.count(result.pending, name)
        else:
            try:
                channel.send(message.recipient, message.subject, message.body)
            except DeliveryError as error:
                if error.cause not in (Cause.REFUSED, Cause.DEFERRED):
                    failed.add(name)
                self._postpone(path, message, error, result)
                return
            path.unlink()
            result.count(result.delivered, name)
            _log.info(
                "message delivered",
                channel=name,
                recipient=message.recipient,
                subject=message.subject,
            )

    def _postpone(
        self, path: Path, message: _Message, error: DeliveryError, result: DeliveryResult
    ) -> None:
        """Choose the time of the next try; there is none for a message that is refused for good."""
        tries, wait_seconds = message.tries, min(error.wait_seconds, _MAX_WAIT_SECONDS)
        if error.cause not in (Cause.BUSY, Cause.UNAVAILABLE):
            doubled_seconds = _MIN_WAIT_SECONDS * 2 ** min(tries, MAX_TRIES)
            wait_seconds = max(wait_seconds, min(doubled_seconds, _MAX_WAIT_SECONDS))
            tries += 1
        message = replace(message, tries=tries, reason=str(error))
        _log.warning(
            "message not delivered",
            channel=message.channel,
            recipient=message.recipient,
            subject=message.subject,
            cause=error.cause,
            error=str(error),
            tries=tries,
        )
        is_old = time.time() - message.created > MAX_AGE_SECONDS
        if error.cause == Cause.REFUSED or tries >= MAX_TRIES or is_old:
            self._give_up(path, message, result)
            return
        result.count(result.pending, message.channel)
        # Also without a wait: the time of the file is the order in which messages are tried.
        if wait_seconds or error.cause == Cause.BUSY:
            _update(path, replace(message, not_before=time.time() + wait_seconds))

    def _give_up(self, path: Path, message: _Message, result: DeliveryResult) -> None:
        _update(path, message)
        path.rename(path.with_suffix(_UNDELIVERABLE_SUFFIX))
        result.count(result.undeliverable, message.channel)
        _log.error(
            "message is undeliverable",
            channel=message.channel,
            recipient=message.recipient,
            subject=message.subject,
            error=message.reason,
            file=path.with_suffix(_UNDELIVERABLE_SUFFIX).name,
        )

    def _send_without_outbox(self, messages: list[_Message], reason: str) -> DeliveryResult:
        result, failed = DeliveryResult(), []
        for message in messages:
            channel = self._channels[message.channel]
            try:
                channel.send(message.recipient, message.subject, message.body)
            except DeliveryError as error:
                failed.append(f"{message.channel}: {error}")
            else:
                result.count(result.delivered, message.channel)
        if failed:
            raise NotificationError(f"neither delivered ({'; '.join(failed)}) nor saved: {reason}")
        return result


def pending_messages(outbox: Path) -> list[Path]:
    """Return the files of the messages that wait to be delivered."""
    return list(outbox.glob(f"[!.]*{_SUFFIX}"))


def undeliverable_messages(outbox: Path) -> list[Path]:
    """Return the files of the messages that are not tried any more, damaged ones included."""
    return [path for path in outbox.glob("[!.]*") if path.suffix in _UNDELIVERABLE_SUFFIXES]


def _update(path: Path, message: _Message) -> None:
    """Replace a file of the outbox; on a full disk it stays as it is, and is tried again sooner."""
    try:
        message.write(path)
    except OSError as error:
        _log.error("cannot write the outbox", file=str(path), error=str(error))


def _replace_invalid(text: str) -> str:
    """Replace surrogates, which stand for bytes that are no UTF-8 and cannot be sent."""
    return text.encode(errors="replace").decode()


def _shorten(body: str) -> str:
    if len(body) <= MAX_BODY:
        return body
    half = MAX_BODY // 2
    return f"{body[:half]}\n[... {len(body) - MAX_BODY:,} characters removed ...]\n{body[-half:]}"
