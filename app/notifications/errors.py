"""Errors of notifications."""

from app.cli_errors import MarqueeError


class NotificationError(MarqueeError):
    """A channel is configured incompletely, or a message was neither delivered nor saved."""
