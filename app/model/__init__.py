"""The artifact on disk: written by training, read by the service."""
