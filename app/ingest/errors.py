"""The error of this package."""

from app.cli_errors import MarqueeError


class IngestError(MarqueeError):
    """A file, a store or a table cannot be used; the message names it and the reason."""
