"""What goes wrong in this room, in words for the person who is told."""


class DeploymentError(Exception):
    """A step that could not be done; the message says which and why."""


class RefusedError(DeploymentError):
    """Trying again does not help: the data or the model was judged and refused."""
