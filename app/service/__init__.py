"""The web service that returns recommendations."""
