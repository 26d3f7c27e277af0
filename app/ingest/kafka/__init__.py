"""Following the Kafka stream: one reader, whose positions lie with the data they belong to."""
