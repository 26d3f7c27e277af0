"""Decide from counts per minute whether a canary is worse than the stable slots.

docs/canary-analysis.md explains the method.
"""
