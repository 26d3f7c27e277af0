"""The PromQL queries behind the figures of the pages, by name."""

QUERIES = {
    # Slots
    "up": "up",
    "model": "marquee_model_info",
    "model_age": "marquee_model_age_seconds",
    "requests": "slot:requests:rate5m",
    "share": "slot:traffic:share5m",
    "success": "slot:success:ratio5m",
    "mean": "slot:latency_seconds:mean5m",
    "p99": "slot:latency_seconds:p99_5m",
    "timeouts": "slot:timeout:ratio5m",
    "fallback": "slot:fallback:ratio5m",
    "recent_unused": "slot:recent_unused:ratio5m",
    # Retraining
    "retrain_configured": "marquee_retrain_configured",
    "retrain_running": "marquee_retrain_running",
    "retrain_next": "marquee_retrain_next_timestamp_seconds",
    "retrain_success": "marquee_retrain_last_success_timestamp_seconds",
    "retrain_duration": "marquee_retrain_last_duration_seconds",
    "retrain_version": "marquee_retrain_version",
    "retrain_status": "marquee_retrain_last_status == 1",
    "retrain_runs": "marquee_retrain_runs_total > 0",
    # Ingest
    "kafka_configured": "marquee_kafka_configured",
    "kafka_connected": "marquee_kafka_connected",
    "lag": "marquee_kafka_consumer_lag",
    "delay": "marquee_ingest_delay_seconds",
    "collector_commit": "marquee_collector_last_commit_timestamp_seconds",
    "lines": "sum by (kind) (rate(marquee_ingest_lines_total[5m]))",
    "rejected": "sum by (reason) (increase(marquee_ingest_lines_rejected_total[1h])) > 0",
    "repaired": "increase(marquee_ingest_lines_repaired_total[1d])",
    "lost": "increase(marquee_kafka_messages_lost_total[1d])",
    "recent_configured": "marquee_recent_configured",
    "recent_lag": "marquee_recent_consumer_lag",
    "recent_delay": "marquee_recent_delay_seconds",
    "recent_commit": "marquee_recent_last_commit_timestamp_seconds",
    "recent_age": "marquee_recent_age_seconds",
    "recent_users": "marquee_recent_users",
    # Storage
    "free": "marquee_volume_free_bytes",
    "size": "marquee_volume_size_bytes",
    "store_rows": "marquee_store_rows",
    "store_bytes": "marquee_store_bytes",
    "spool_bytes": "marquee_provenance_spool_bytes",
    "spool_records": "marquee_provenance_spool_records",
    "spool_oldest": "marquee_provenance_spool_oldest_seconds",
    "written": "sum(rate(marquee_provenance_records_written_total[5m]))",
    "dropped": "sum(increase(marquee_provenance_records_dropped_total[1d]))",
    "quarantine": "marquee_provenance_quarantine_files",
    "backup": "marquee_backup_last_success_timestamp_seconds",
    "metrics_bytes": "prometheus_tsdb_storage_blocks_bytes",
}

#: Queries whose last hours are shown as a small picture for each slot.
HISTORIES = ("requests", "success", "p99")
