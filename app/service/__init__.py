"""The web service that answers recommendations."""
