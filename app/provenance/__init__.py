"""What was answered, by which version: recording, shipping to the database, tracing."""
