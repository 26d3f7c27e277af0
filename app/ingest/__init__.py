"""Log line -> event, cleaning, the event store."""
