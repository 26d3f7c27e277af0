"""What goes wrong in this room, in words for the person who can put it right."""


class EventsError(Exception):
    """Input, a store or a table that cannot be used; the message says which and why."""
