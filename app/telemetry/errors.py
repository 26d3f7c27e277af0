"""Errors of exports and queries."""

from app.cli_errors import MarqueeError


class TelemetryError(MarqueeError):
    """An export cannot be written or read, or a query is refused or needs too much."""
