"""Errors of this package."""

from app.cli_errors import MarqueeError


class RecentActivityError(MarqueeError):
    """Recent activity cannot be followed or changed."""
