"""Marquee: a movie recommender that runs itself."""
