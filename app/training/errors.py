"""What can go wrong for a reason that a user can mend."""


class TrainingError(Exception):
    """Input or parameters that no model can be made from; the message says what to change."""
