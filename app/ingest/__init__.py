"""Ingest: parse log lines and rating tables, store their events, prepare tables for training."""
