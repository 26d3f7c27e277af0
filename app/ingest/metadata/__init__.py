"""Fetch metadata of users and movies from the metadata API and store it beside the events."""
