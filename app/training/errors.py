"""The error of this package."""

from app.cli_errors import MarqueeError


class TrainingError(MarqueeError):
    """No model can be trained from this input or these parameters; the message names the cause."""
