"""Simulated users and movies for demos and tests, with the metadata API and the sample data."""
