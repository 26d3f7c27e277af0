"""Ratings, ranking, lists and evaluation: the only room with training libraries."""
