"""Scorers: each gives every user a score for every movie; a blend adds them up."""
