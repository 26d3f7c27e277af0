# shellcheck shell=bash disable=SC2016 # variables in single quotes are jq's
# Metrics of a release and of its host: files that NGINX serves inside the stack (port 8081) and Prometheus
# scrapes.

readonly METRICS_FILE=monitoring/release/release.prom
# A file of its own: `supervise` writes it beside a release that writes the other.
readonly HOST_METRICS_FILE=monitoring/release/host.prom

write_metrics() {
    local metrics
    metrics=$(jq_state -r --argjson now "$(now)" --argjson canary_empty "$(is_canary_empty && echo 1 || echo 0)" '
        def metric($name; $help): "# HELP marquee_release\($name) \($help)", "# TYPE marquee_release\($name) gauge";
        metric("_in_progress"; "1 while a release is in progress, else 0."),
        "marquee_release_in_progress \(if .phase == "completed" then 0 else 1 end)",
        metric("_phase_info"; "Always 1; kind, version, phase and outcome of the last release are labels."),
        "marquee_release_phase_info{kind=\"\(.kind)\",version=\"\(.version)\",phase=\"\(.phase)\",outcome=\"\(.outcome // "")\"} 1",
        metric("_heartbeat_timestamp_seconds"; "Unix time of the last activity of a release."),
        "marquee_release_heartbeat_timestamp_seconds \($now)",
        metric("_window_extended"; "1 if the analysis window was extended after an INCONCLUSIVE verdict, else 0."),
        "marquee_release_window_extended \(if .window_extended then 1 else 0 end)",
        metric("_slot_empty"; "1 if a release has left the slot empty (RELEASE_ON_ABORT=empty), else 0."),
        "marquee_release_slot_empty{slot=\"canary\"} \($canary_empty)",
        (if .analysis_deadline then metric("_deadline_timestamp_seconds"; "Unix time of the end of the analysis window."),
            "marquee_release_deadline_timestamp_seconds \(.analysis_deadline)" else empty end),
        (if .completed_at then metric("_completed_timestamp_seconds"; "Unix time at which the last release completed."),
            "marquee_release_completed_timestamp_seconds{outcome=\"\(.outcome)\"} \(.completed_at)" else empty end),
        metric("_check"; "Values of the checks of the last evaluation."),
        (.last_evaluation.checks[]? | select(.value != null) | "marquee_release_check{check=\"\(.name)\"} \(.value)"),
        "# HELP marquee_releases_total Completed releases by outcome.", "# TYPE marquee_releases_total counter",
        (.outcome_counts | to_entries[] | "marquee_releases_total{outcome=\"\(.key)\"} \(.value)")') ||
        fail "cannot compute metrics from $STATE_FILE"
    { write_file "$METRICS_FILE" "$metrics" && chmod 644 "$METRICS_FILE"; } ||
        log "cannot write $METRICS_FILE: $WRITE_ERROR"
}

# The outbox of the clone, and the disk that the clone is on.
write_host_metrics() {
    local size free directory=$STATE_DIR
    [[ -d $directory ]] || directory=.
    read -r size free < <(df --output=size,avail --block-size=1 "$directory" | tail -n 1) || return 0
    { write_file "$HOST_METRICS_FILE" "\
# HELP marquee_notification_outbox_messages Messages that wait to be delivered, one for each recipient.
# TYPE marquee_notification_outbox_messages gauge
marquee_notification_outbox_messages $(count_messages message)
# HELP marquee_notification_undeliverable_messages Messages that were refused for good or not accepted in all tries.
# TYPE marquee_notification_undeliverable_messages gauge
marquee_notification_undeliverable_messages $(($(count_messages undeliverable) + $(count_messages damaged)))
# HELP marquee_volume_free_bytes Free space, for a process that is not root.
# TYPE marquee_volume_free_bytes gauge
marquee_volume_free_bytes{volume=\"release\"} $free
# HELP marquee_volume_size_bytes Size of the file system.
# TYPE marquee_volume_size_bytes gauge
marquee_volume_size_bytes{volume=\"release\"} $size" && chmod 644 "$HOST_METRICS_FILE"; } ||
        log "cannot write $HOST_METRICS_FILE: $WRITE_ERROR"
}

# Every minute, also while there is no release.
refresh_host_metrics() {
    [[ -n $(find "$HOST_METRICS_FILE" -newermt '-1 minute' 2>/dev/null) ]] || write_host_metrics
}
