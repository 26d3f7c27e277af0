"""What the information API knows of users and movies, kept beside the store."""
