"""Campaigns of faults: schedules drawn from seeds, and a checker that reads the records outside."""
