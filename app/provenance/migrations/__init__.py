"""Changes of the schema, in order, each readable by the version before it."""
