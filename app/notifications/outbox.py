"""Tell people, whatever is down: a message lies in the outbox until each channel has taken it."""

import fcntl
import json
import os
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path

from app import logs
from app.atomic_files import write_file
from app.auto_deployment.errors import DeploymentError
from app.notifications.channels import Channel

#: A mail server's patience, and more than a person reads.
MAX_BODY = 30_000
MAX_SUBJECT = 200
_SUFFIX = ".message"

_log = logs.get(__name__)


@dataclass
class Told:
    """What became of messages, by channel: how many it took, and how many wait for it."""

    delivered: dict[str, int] = field(default_factory=dict)
    kept: dict[str, int] = field(default_factory=dict)


class Notifier:
    """Sends through every channel; one that is down stops neither the others nor the caller.

    Args:
        outbox: where messages wait; made where it is missing.
        channels: by name.
    """

    def __init__(self, outbox: Path, channels: dict[str, Channel]) -> None:
        self._outbox = outbox
        self._channels = channels

    def send(self, subject: str, body: str, key: str | None = None) -> Told:
        """Send a message, and what waited before it.

        Args:
            subject: one line.
            body: text; its middle is left out where it is too long.
            key: a message that waits under the same key is replaced, so that a caller that was
                killed may say it again.

        Raises:
            DeploymentError: a channel did not take it and it cannot be kept either.
        """
        subject = " ".join(subject.split())[:MAX_SUBJECT]
        body = _shortened(body)
        if not self._channels:
            _log.info("nobody is told: neither mail nor Slack is configured", subject=subject)
            return Told()
        try:
            self._outbox.mkdir(parents=True, exist_ok=True)
            for channel in self._channels:
                content = {"channel": channel, "subject": subject, "body": body}
                name = f"{key or time.time_ns()}-{channel}{_SUFFIX}"
                write_file(self._outbox / name, json.dumps(content).encode())
        except OSError as error:
            _log.error("messages cannot be kept", outbox=str(self._outbox), error=str(error))
            return self._send_unkept(subject, body, str(error))
        return self.flush()

    def flush(self) -> Told:
        """Send what waits, oldest first; a channel that fails is left alone until next time."""
        told = Told()
        if not self._outbox.is_dir():
            return told
        with self._locked():
            waiting = sorted(self._outbox.glob(f"[!.]*{_SUFFIX}"), key=lambda p: p.stat().st_mtime)
            for path in waiting:
                self._deliver(path, told)
        if told.kept:
            _log.warning("messages wait to be sent", **told.kept)
        return told

    def waiting(self) -> int:
        """How many messages wait."""
        return sum(1 for _ in self._outbox.glob(f"[!.]*{_SUFFIX}"))

    def _deliver(self, path: Path, told: Told) -> None:
        try:
            message = json.loads(path.read_bytes())
            name, subject, body = message["channel"], message["subject"], message["body"]
        except (ValueError, KeyError, TypeError) as error:
            path.rename(path.with_suffix(".damaged"))
            _log.error("a message makes no sense and is put aside", file=path.name, why=str(error))
            return
        channel = self._channels.get(name)
        if name in told.kept or channel is None or not channel(subject, body):
            told.kept[name] = told.kept.get(name, 0) + 1
            return
        path.unlink()
        told.delivered[name] = told.delivered.get(name, 0) + 1
        _log.info("told", channel=name, subject=subject)

    def _send_unkept(self, subject: str, body: str, why: str) -> Told:
        took = {name: channel(subject, body) for name, channel in self._channels.items()}
        if missed := [name for name, taken in took.items() if not taken]:
            raise DeploymentError(f"neither delivered ({', '.join(missed)}) nor kept: {why}")
        return Told(delivered=dict.fromkeys(took, 1))

    @contextmanager
    def _locked(self) -> Iterator[None]:
        """One sender at a time, so that no message goes out twice."""
        descriptor = os.open(self._outbox / ".lock", os.O_RDWR | os.O_CREAT, 0o640)
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX)
            yield
        finally:
            os.close(descriptor)


def _shortened(body: str) -> str:
    if len(body) <= MAX_BODY:
        return body
    half = MAX_BODY // 2
    return f"{body[:half]}\n[... {len(body) - MAX_BODY:,} characters left out ...]\n{body[-half:]}"
