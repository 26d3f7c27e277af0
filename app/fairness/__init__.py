"""Whom a model serves how well, and which movies it shows: reports of versions."""
