# shellcheck shell=bash
# Notifications of a release by mail and Slack, sent with `marquee notify`.

format_subject() {
    case $(get_state .outcome) in
        promoted) echo "Successfully deployed new model: version $(get_state .version)" ;;
        rolled-back) echo "Rolled back to version $(get_state .version)" ;;
        *) echo "Release of version $(get_state .version) $(get_state .outcome): $(get_state '.reason[0:120]')" ;;
    esac
}

# The release in text form: body of its notifications and output of status.
format_summary() {
    jq_state -r "$JQ_DESCRIBE_CHECK"'
        def format_time: strflocaltime("%F %T%z");
        "\(.kind) \(.id), version \(.version), build \(.build_id // "none"), commit \(.commit)",
        "outcome: \(.outcome // "in progress")", "reason: \(.reason // "none")",
        "started: \(.started_at | format_time) by \(.started_by)",
        (if .analysis_started_at then "analyzed: \(.analysis_started_at | format_time) to \(.analysis_deadline | format_time)\(if .window_extended then " (extended once)" else "" end)" else empty end),
        (.last_evaluation // empty | "", "\(.kind) at \(.evaluated_at | format_time): \(.verdict): \(.reason)",
            (.checks[] | describe_check), (.notes // [] | map("  note: \(.)")[])),
        "", "See scripts/canary_release.sh history \(.id) and docs/releasing.md"'
}

# Export the settings of mail and Slack that the environment lacks: the stack's own, from .env and secrets/.
export_notification_settings() {
    local line
    local -a lines
    mapfile -d '' -t lines < <(read_env_file .env)
    wait "$!" || return 1
    for line in "${lines[@]}"; do
        [[ ! $line =~ ^MARQUEE_(MAIL|SMTP|SLACK|OUTBOX)[A-Z_]*= || -v ${line%%=*} ]] || export "${line?}"
    done
    [[ -v MARQUEE_SMTP_PASSWORD_FILE || -v MARQUEE_SMTP_PASSWORD || ! -e secrets/smtp_password ]] ||
        export MARQUEE_SMTP_PASSWORD_FILE=secrets/smtp_password
    [[ -v MARQUEE_SLACK_WEBHOOK_FILE || -v MARQUEE_SLACK_WEBHOOK || ! -e secrets/slack_webhook ]] ||
        export MARQUEE_SLACK_WEBHOOK_FILE=secrets/slack_webhook
}

# Run `marquee notify` with these settings. They are not arguments, which every user of the host can read.
run_notify() ( # ARGUMENT...
    export_notification_settings || exit
    exec "$RELEASE_MARQUEE" notify "$@"
)

# Fails if the message was neither delivered nor saved.
notify() { # SUBJECT BODY
    log "sending notification: $1"
    run_notify --subject "$1" --body-file - <<<"$2" >&2 ||
        { log "the notification could not be sent"; return 1; }
    write_host_metrics
}

send_notification() { notify "$@" || true; } # SUBJECT BODY; the release continues

# -- outbox: messages that `marquee notify` could not deliver yet ----------------------------------

# Compose reads .env only if it has that setting: metrics need this every 15 s.
outbox_directory() (
    [[ -v MARQUEE_OUTBOX_DIR ]] || ! grep -qs MARQUEE_OUTBOX_DIR .env || export_notification_settings || true
    echo "${MARQUEE_OUTBOX_DIR:-data/outbox}"
)

count_messages() { { find "$(outbox_directory)" -maxdepth 1 -name "[!.]*.$1" 2>/dev/null || true; } | wc -l; } # SUFFIX

# Send the pending messages, at most once a minute; the time of the last sending is that of the lock's file.
flush_outbox() {
    local lock
    lock=$(outbox_directory)/.lock
    (($(count_messages message))) && [[ -z $(find "$lock" -newermt '-1 minute' 2>/dev/null) ]] || return 0
    touch "$lock" 2>/dev/null || true
    run_notify --flush </dev/null >/dev/null || log "the pending notifications could not be sent"
}
