# shellcheck shell=bash
# A release whose files cannot be written (the disk is full) continues in memory: the guards are evaluated
# and the canary is stopped if they fail, a notification is sent, and nothing is deployed or promoted until
# there is space again.

readonly FULL_DISK_RETRY_SECONDS=2
NEXT_FULL_DISK_REPORT=0 # Unix time in seconds

# Log and notify, at most once an hour. A message that is neither sent nor saved is retried after a minute.
report_full_disk() { # FILE
    (($(now) >= NEXT_FULL_DISK_REPORT)) || return 0
    NEXT_FULL_DISK_REPORT=$(($(now) + 60))
    log "cannot write $1: $WRITE_ERROR"
    ! notify "Release of version $(get_state .version) cannot write its files: ${WRITE_ERROR##*: }" \
        "$1: $WRITE_ERROR

Until there is space, the release continues in memory: the guards can abort it, and nothing is deployed or
promoted. Free some space (docs/operations.md#diskfilling); the release then continues by itself." ||
        NEXT_FULL_DISK_REPORT=$(($(now) + 3600))
}

# Wait until the state is on disk. A candidate that no guard can judge does not serve meanwhile.
wait_until_saved() {
    until save_state; do
        report_full_disk "$STATE_FILE"
        stop_candidate
        wait_seconds "$FULL_DISK_RETRY_SECONDS"
    done
}

can_write() {
    if ! save_state; then
        report_full_disk "$STATE_FILE"
        return 1
    fi
    can_place
}
