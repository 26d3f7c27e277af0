"""Consume the Kafka topic into the store; the offsets are stored with the events."""
