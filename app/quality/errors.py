"""Errors of the online quality."""

from app.cli_errors import MarqueeError


class QualityError(MarqueeError):
    """The quality cannot be computed: no answers, no watches, or a model that does not fit."""
