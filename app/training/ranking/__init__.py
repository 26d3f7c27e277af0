"""Models that rank movies. Each becomes a scorer, and a blend adds up their scores."""
