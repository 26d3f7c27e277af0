"""Scorers: each gives every user a score for every film; a blend adds them up."""
