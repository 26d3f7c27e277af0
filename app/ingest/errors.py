"""What goes wrong in this room, in words for the person who can put it right."""

from app.cli_errors import MarqueeError


class EventsError(MarqueeError):
    """Input, a store or a table that cannot be used; the message says which and why."""
