"""The model on disk: artifacts that training writes and the service reads."""
