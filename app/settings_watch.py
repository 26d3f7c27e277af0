"""Restart of a long-running command when a file with one of its settings has changed.

Secrets reach a command as files (`MARQUEE_NAME_FILE`), which `marquee init` replaces. The process
executes its program again, which reads all values anew, whatever has started it: a container,
systemd, a shell or `marquee serve`.
"""

import os
import sys
from threading import Thread

from app import logs
from app.settings import PREFIX, Settings, SettingsError, read_settings
from app.shutdown import StopEvent

_INTERVAL_SECONDS = 2.0
_log = logs.get(__name__)


class SettingsWatch:
    """Compares the settings that are in use with their files.

    Args:
        settings: the settings in use.
        stop: ends the command.
    """

    def __init__(self, settings: Settings, stop: StopEvent) -> None:
        self._settings = settings
        self._stop = stop
        names = Settings.model_fields
        self._names = [name for name in names if f"{PREFIX}{name.upper()}_FILE" in os.environ]
        self._error = ""

    def has_changed(self) -> bool:
        """Whether a file has another value now; an invalid one is logged and does not count."""
        try:
            current = read_settings()
        except SettingsError as error:
            if self._error != str(error):
                self._error = str(error)
                _log.error("a changed setting is not valid, the old one is used", error=self._error)
            return False
        self._error = ""
        return any(getattr(current, n) != getattr(self._settings, n) for n in self._names)

    def start(self) -> None:
        """Set the stop event as soon as a file has changed; checks in a thread."""
        if self._names:
            Thread(target=self._stop_at_change, name="settings", daemon=True).start()

    def restart_if_changed(self) -> None:
        """Run this program again in this process if a file has changed, except after a signal."""
        if self._names and not self._stop.signalled and self.has_changed():
            _log.info("a setting has changed in its file: restarting")
            sys.stdout.flush()
            os.execv(sys.executable, [sys.executable, *sys.orig_argv[1:]])  # noqa: S606 - this program

    def _stop_at_change(self) -> None:
        while not self._stop.wait(_INTERVAL_SECONDS):
            if self.has_changed():
                self._stop.set()
