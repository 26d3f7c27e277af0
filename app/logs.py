"""Logging to standard error: readable lines on a terminal, JSON elsewhere."""

import logging
import sys
import threading
from types import TracebackType

import structlog
from structlog.typing import EventDict, Processor

from app.settings import Settings
from app.terminal_text import escape_control_characters


def set_up(settings: Settings) -> None:
    """Configure structlog and the root logger, so that libraries log in the same format."""
    terminal = settings.log_format == "terminal" or (
        settings.log_format == "auto" and sys.stderr.isatty()
    )
    shared: list[Processor] = [
        structlog.contextvars.merge_contextvars,
        structlog.stdlib.add_log_level,
        structlog.stdlib.add_logger_name,
        structlog.processors.TimeStamper(fmt="iso", utc=True),
        structlog.processors.format_exc_info,
    ]
    renderers: list[Processor] = (
        [_escape_values, structlog.dev.ConsoleRenderer(colors=sys.stderr.isatty())]
        if terminal
        else [structlog.processors.JSONRenderer()]
    )
    structlog.configure(
        processors=[*shared, structlog.stdlib.ProcessorFormatter.wrap_for_formatter],
        wrapper_class=structlog.stdlib.BoundLogger,
        logger_factory=structlog.stdlib.LoggerFactory(),
        cache_logger_on_first_use=True,
    )
    handler = logging.StreamHandler(sys.stderr)
    handler.setFormatter(
        structlog.stdlib.ProcessorFormatter(
            foreign_pre_chain=shared,
            processors=[structlog.stdlib.ProcessorFormatter.remove_processors_meta, *renderers],
        )
    )
    root = logging.getLogger()
    root.handlers[:] = [handler]
    root.setLevel(settings.log_level.upper())


def capture_warnings_and_exceptions() -> None:
    """Log warnings and uncaught exceptions, which Python writes to standard error as bare text.

    For processes only: the hooks belong to the interpreter, and pytest has its own.
    """
    logging.captureWarnings(True)
    sys.excepthook = _log_exception
    threading.excepthook = lambda args: _log_exception(
        args.exc_type, args.exc_value, args.exc_traceback
    )


def _log_exception(
    kind: type[BaseException], error: BaseException | None, traceback: TracebackType | None
) -> None:
    if issubclass(kind, KeyboardInterrupt | SystemExit):
        return
    exc_info = (kind, error or kind(), traceback)
    logging.getLogger(__name__).critical("uncaught exception", exc_info=exc_info)


def get(name: str) -> structlog.stdlib.BoundLogger:
    """Return the logger of a module."""
    logger: structlog.stdlib.BoundLogger = structlog.stdlib.get_logger(name)
    return logger


def _escape_values(_logger: object, _method: str, event: EventDict) -> EventDict:
    """Escape control characters, which a rejected row or a file name may contain."""
    return {
        key: escape_control_characters(value) if isinstance(value, str) else value
        for key, value in event.items()
    }
