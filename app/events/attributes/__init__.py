"""What the information API knows of users and films, kept beside the store."""
