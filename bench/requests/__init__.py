"""Cost of a request compared with baselines (`python -m bench.requests`)."""
