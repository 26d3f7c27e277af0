"""Termination by SIGTERM and SIGINT (Ctrl-C), the same for every long-running command."""

import signal
import sys
from threading import Event
from types import FrameType

#: Exit status of a process that SIGTERM ended, as shells report it.
SIGTERM_EXIT_STATUS = 128 + signal.SIGTERM


class StopEvent(Event):
    """An event that ends a command.

    Attributes:
        signalled: whether a signal has set it, and not the command itself.
    """

    signalled = False


def stop_event(*, ignore_sigint: bool = False) -> StopEvent:
    """Install handlers, in the main thread; return an event that SIGTERM or SIGINT sets.

    Args:
        ignore_sigint: for a child process that has to outlast its parent at Ctrl-C, which reaches
            both of them.
    """
    stop = StopEvent()

    def set_stop(number: int, frame: FrameType | None) -> None:
        stop.signalled = True
        stop.set()

    signal.signal(signal.SIGTERM, set_stop)
    signal.signal(signal.SIGINT, signal.SIG_IGN if ignore_sigint else set_stop)
    return stop


def exit_on_sigterm() -> None:
    """Turn SIGTERM into `SystemExit`, so that `finally` blocks run."""

    def exit_now(number: int, frame: FrameType | None) -> None:
        sys.exit(SIGTERM_EXIT_STATUS)

    signal.signal(signal.SIGTERM, exit_now)
