"""Send the pending messages of the outbox every minute, beside the work of a process."""

from threading import Event, Thread

from app import logs
from app.notifications.channels import open_channels
from app.notifications.notifier import Notifier
from app.settings import Settings

_INTERVAL_SECONDS = 60.0
_log = logs.get(__name__)


class OutboxFlusher(Thread):
    """A thread that sends what is due until an event is set. An error does not end it.

    Args:
        settings: the channels and the outbox.
        stop: ends the thread.
        interval_seconds: time between two passes.
    """

    def __init__(
        self, settings: Settings, stop: Event, interval_seconds: float = _INTERVAL_SECONDS
    ) -> None:
        super().__init__(name="outbox", daemon=True)
        self._settings = settings
        self._stop_event = stop
        self._interval_seconds = interval_seconds

    def run(self) -> None:
        """Send at once, and then at each interval."""
        while True:
            try:
                Notifier(self._settings.outbox_dir, open_channels(self._settings)).flush()
            except Exception as error:  # noqa: BLE001 - the next pass may succeed
                _log.error("cannot send pending notifications", error=str(error), exc_info=True)
            if self._stop_event.wait(self._interval_seconds):
                return
