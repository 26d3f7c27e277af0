# shellcheck shell=bash
# What people and Prometheus are told.

readonly METRICS=monitoring/release/release.prom

subject() {
    case $(field .outcome) in
        promoted) echo "Successfully deployed new model: version $(field .version)" ;;
        rolled-back) echo "Rolled back to version $(field .version)" ;;
        *) echo "Release of version $(field .version) $(field .outcome): $(field .reason | cut -c1-120)" ;;
    esac
}

report() {
    jq -r '
        "\(.kind) \(.id), version \(.version), build \(.build // "none"), commit \(.commit)",
        "outcome: \(.outcome // "not yet")", "reason: \(.reason // "none")",
        "started: \(.started | strflocaltime("%F %T%z")) by \(.by)",
        (if .opened then "watched: \(.opened | strflocaltime("%F %T%z")) to \(.deadline | strflocaltime("%F %T%z"))\(if .extended then ", extended once" else "" end)" else empty end),
        (if .last then "", "figures (\(.last.kind), the last \(.last.window) s):",
            (.last.checks[] | "  \(if .ok then "holds" else "FAILS" end)  \(.name) = \(.value // .problem)  (\(.limit))")
         else empty end),
        "", "More: scripts/canary_release.sh history \(.id); docs/releasing.md"' "$STATE"
}

# Settings of mail and Slack are those of the stack: .env and secrets/, where the environment has none.
message_settings() {
    local name value
    if [[ -e .env ]]; then
        while IFS='=' read -r name value; do
            value=${value#[\"\']}
            [[ -v $name ]] || printf '%s=%s\n' "$name" "${value%[\"\']}"
        done < <(grep -E '^MARQUEE_(MAIL|SLACK|OUTBOX)[A-Z_]*=' .env || true)
    fi
    [[ -v MARQUEE_SMTP_PASSWORD_FILE || -v MARQUEE_SMTP_PASSWORD || ! -e secrets/smtp_password ]] ||
        echo "MARQUEE_SMTP_PASSWORD_FILE=secrets/smtp_password"
    [[ -v MARQUEE_SLACK_WEBHOOK_FILE || -v MARQUEE_SLACK_WEBHOOK || ! -e secrets/slack_webhook ]] ||
        echo "MARQUEE_SLACK_WEBHOOK_FILE=secrets/slack_webhook"
}

tell() { # SUBJECT BODY
    local -a settings
    mapfile -t settings < <(message_settings)
    say "telling: $1"
    env "${settings[@]}" "$RELEASE_MARQUEE" notify --subject "$1" --body-file - <<<"$2" >&2
}

# A file that the edge serves inside the stack (nginx.conf, port 8081) and Prometheus scrapes.
write_metrics() {
    local metrics
    metrics=$(jq -r --argjson now "$(epoch)" '
        def metric($name; $help): "# HELP marquee_release\($name) \($help)", "# TYPE marquee_release\($name) gauge";
        metric("_in_progress"; "1 while a release is in progress."),
        "marquee_release_in_progress \(if .phase == "ended" then 0 else 1 end)",
        metric("_phase_info"; "1; the labels say which release, and where it is."),
        "marquee_release_phase_info{kind=\"\(.kind)\",version=\"\(.version)\",phase=\"\(.phase)\",outcome=\"\(.outcome // "")\"} 1",
        metric("_heartbeat_timestamp_seconds"; "When the release last did something."),
        "marquee_release_heartbeat_timestamp_seconds \($now)",
        metric("_extended"; "1 when the last verdict was INCONCLUSIVE and its window was extended."),
        "marquee_release_extended \(if .extended then 1 else 0 end)",
        (if .deadline then metric("_deadline_timestamp_seconds"; "When the verdict is due."),
            "marquee_release_deadline_timestamp_seconds \(.deadline)" else empty end),
        (if .ended then metric("_ended_timestamp_seconds"; "When the last release ended, and how."),
            "marquee_release_ended_timestamp_seconds{outcome=\"\(.outcome)\"} \(.ended)" else empty end),
        metric("_check"; "The checks of the last evaluation that had a value."),
        (.last.checks[]? | select(.value != null) | "marquee_release_check{check=\"\(.name)\"} \(.value)"),
        "# HELP marquee_releases_total Releases that ended, by how.", "# TYPE marquee_releases_total counter",
        (.totals | to_entries[] | "marquee_releases_total{outcome=\"\(.key)\"} \(.value)")' "$STATE") || fail "metrics could not be made of $STATE"
    keep "$METRICS" "$metrics"
    chmod 644 "$METRICS"
}
