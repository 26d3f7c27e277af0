"""Errors of the fairness report."""

from app.cli_errors import MarqueeError


class FairnessError(MarqueeError):
    """A report cannot be made; the message names the file."""
