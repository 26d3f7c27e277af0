"""The error of this package."""

from app.cli_errors import MarqueeError


class SparkError(MarqueeError):
    """Spark is not installed, cannot be reached, or a job failed; the message names the cause."""
