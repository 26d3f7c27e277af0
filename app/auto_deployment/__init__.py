"""Retraining: build a version from the collected events, publish it, restore it; the scheduler."""
