"""Training on a Spark cluster."""
