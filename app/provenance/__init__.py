"""Provenance: record each recommendation, ship the records to a database, trace their lineage."""
