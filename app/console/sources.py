"""What the pages show: values that threads read in the background, each with its age.

A page shows what was read last, so that it waits for no source, and a source that is away is named
with the time since when.
"""

import time
from collections.abc import Callable
from dataclasses import dataclass
from threading import Event, Lock, Thread
from typing import Any, Generic, TypeVar

from app import logs

_log = logs.get(__name__)
T = TypeVar("T")

#: An attempt that takes longer than this counts as a failure, before it has ended.
MAX_ATTEMPT_SECONDS = 10.0


class SourceError(Exception):
    """A source cannot be read; the message is one sentence for the page."""


@dataclass(frozen=True)
class Reading(Generic[T]):
    """What is known of a source.

    Attributes:
        value: what was read last; None before the first time.
        read_at: when that was, in Unix seconds.
        error: why the last attempt failed; empty if it succeeded.
        failing_since: when it was first found away, in Unix seconds; None while it is not.
    """

    value: T | None = None
    read_at: float | None = None
    error: str = ""
    failing_since: float | None = None

    @property
    def is_away(self) -> bool:
        """Whether the source could not be read at the last attempt."""
        return bool(self.error)


class Source(Generic[T]):
    """Reads one source again and again.

    Args:
        name: what the pages call it.
        read: returns a new value, within seconds.
        interval_seconds: pause between two attempts.
        missing: what is not known, or old, while the source is away.
    """

    def __init__(
        self, name: str, read: Callable[[], T], interval_seconds: float, missing: str
    ) -> None:
        self.name, self.missing, self.interval_seconds = name, missing, interval_seconds
        self._read = read
        self._reading: Reading[T] = Reading()
        self._attempt_started: float | None = None
        self._lock = Lock()

    def get(self) -> Reading[T]:
        """Return what is known now, without waiting."""
        with self._lock:
            reading, started = self._reading, self._attempt_started
        now = time.time()
        if not reading.error and started is not None and now - started > MAX_ATTEMPT_SECONDS:
            return Reading(reading.value, reading.read_at, "no answer in time", started)
        if reading == Reading():
            return Reading(error="not read yet", failing_since=started or now)
        return reading

    def refresh(self) -> None:
        """Read the source once."""
        with self._lock:
            self._attempt_started = started = time.time()
            before = self._reading
        try:
            reading = Reading(self._read(), time.time())
        except SourceError as error:
            reading = self._fail(before, started, str(error))
        except Exception as error:  # noqa: BLE001 - one source must not end the others
            _log.exception("a source of the console could not be read", source=self.name)
            reading = self._fail(before, started, f"unexpected {type(error).__name__}")
        with self._lock:
            self._reading, self._attempt_started = reading, None

    def _fail(self, before: Reading[T], started: float, error: str) -> Reading[T]:
        if not before.error:
            _log.warning("a source of the console is away", source=self.name, error=error)
        return Reading(before.value, before.read_at, error, before.failing_since or started)


def start_refreshing(source: Source[Any], stop: Event) -> None:
    """Refresh a source in a thread of its own until the event is set."""

    def run() -> None:
        while not stop.is_set():
            source.refresh()
            stop.wait(source.interval_seconds)

    Thread(target=run, name=source.name, daemon=True).start()
