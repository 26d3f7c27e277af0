"""Errors of notifications."""

from enum import StrEnum

from app.cli_errors import MarqueeError


class NotificationError(MarqueeError):
    """A channel is configured incompletely, or a message was neither delivered nor saved."""


class Cause(StrEnum):
    """Why a message was not delivered, which decides when it is tried again."""

    #: The server refuses this message for good (SMTP 5xx, HTTP 4xx).
    REFUSED = "refused"
    #: The server does not accept this message at the moment (SMTP 4xx, HTTP 500).
    DEFERRED = "deferred"
    #: The connection ended while the message was sent (SMTP 421 included): by a server that fails,
    #: or because of the message.
    INTERRUPTED = "interrupted"
    #: The server answers that it accepts no message at the moment (HTTP 429, 503), which may be
    #: because of this one.
    BUSY = "busy"
    #: The server does not answer, or accepts no message of this sender, whatever it contains.
    UNAVAILABLE = "unavailable"


class DeliveryError(Exception):
    """A channel did not deliver a message.

    Attributes:
        cause: who or what it depends on.
        wait_seconds: how long the server wants no further message; 0: it does not say.
    """

    def __init__(self, cause: Cause, reason: str, wait_seconds: float = 0.0) -> None:
        super().__init__(reason)
        self.cause = cause
        self.wait_seconds = wait_seconds
