"""From collected events to a pushed version that people know of, and the clock that starts it."""
