"""What goes wrong in this room, in words for the person who can put it right."""


class BackupError(Exception):
    """A backup that cannot be made or must not be restored; the message says why."""
