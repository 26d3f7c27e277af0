# shellcheck shell=bash
# The commands of canary_release.sh that only read: status, history, queries.

command_status() {
    check_state
    if (($#)) && [[ $1 != --json ]]; then
        usage_error "status: unknown argument $1"
    elif [[ ! -e $STATE_FILE ]]; then
        if (($#)); then echo '{"phase": null, "running": false}'; else echo "no release yet"; fi
    elif (($#)); then
        jq '. + {running: $running}' --argjson running "$(is_lock_holder_alive && echo true || echo false)" "$STATE_FILE"
    else
        echo "phase: $(get_state .phase), since $(jq -r '.phase_started_at | strflocaltime("%F %T%z")' "$STATE_FILE")"
        if in_progress; then
            is_lock_holder_alive && echo "process: $(describe_lock_holder)" || echo "process: none; run resume"
        fi
        format_summary
    fi
}

command_history() {
    local file
    if [[ -n ${1:-} ]]; then
        file=$HISTORY_DIR/$1.jsonl
        [[ $1 =~ ^[0-9A-Za-z-]+$ && -e $file ]] || fail "no release $1 in $HISTORY_DIR"
        # After a power failure the last line may be incomplete: skip it.
        jq -rR "$JQ_DESCRIBE_CHECK"'fromjson? | (.time | strflocaltime("%F %T")) as $time
            | if .event == "evaluation" then "\($time) \(.kind): \(.verdict): \(.reason)",
                (.checks // [] | map("  \(describe_check)")[])
              else "\($time) \(.event) \(del(.time, .event) | tojson)" end' "$file"
        return
    fi
    [[ -d $HISTORY_DIR ]] || return 0
    find "$HISTORY_DIR" -name '*.jsonl' | sort | while read -r file; do
        jq -rRn --arg id "$(basename "$file" .jsonl)" '[inputs | fromjson?]
            | (map(select(.event | IN("release_completed", "ended"))) | last) as $completed # ended: in version 0.2.0
            | "\($id)  \($completed.outcome // "in progress")  \($completed.reason // "")"' "$file"
    done
}

command_queries() {
    local window=$RELEASE_ANALYSIS_WINDOW version=VERSION
    while (($#)); do
        case $1 in
            --window) window=${2-} ;;
            --version) version=${2-} ;;
            *) usage_error "queries: unknown argument $1" ;;
        esac
        shift 2 || usage_error "queries: $1 requires a value"
    done
    [[ $window =~ ^[0-9]{1,9}[smhd]?$ ]] || usage_error "queries: --window must be a duration such as 12h"
    render_query mean_seconds.promql "$(duration_seconds "$window")" "$version"
    render_query analysis.yml "$(duration_seconds "$window")" "$version"
}
