# shellcheck shell=bash disable=SC2016 # variables in single quotes are jq's
# What a release keeps on disk: the lock, the state file, its history and the operator's request.
# docs/releasing.md (The state file) describes the fields.

readonly STATE_DIR=data/release
readonly STATE_FILE=$STATE_DIR/state.json
readonly STATE_FORMAT=1 # also without a number; version 0.2.0 has a form of its own
readonly LOCK_FILE=$STATE_DIR/lock
readonly LOCK_HOLDER_FILE=$STATE_DIR/lock_holder.json
readonly REQUEST_FILE=$STATE_DIR/request.json
readonly HISTORY_DIR=$STATE_DIR/history
# shellcheck disable=SC2034 # used by deploy.sh and supervise
readonly LOG_FILE=$STATE_DIR/release.log # of releases in the background

# The current state while it cannot be written (disk full); empty while STATE_FILE is current.
UNSAVED_STATE=''
WRITE_ERROR='' # of the last failed write_file

# Replace a file atomically and durably: write a temporary file, fsync, rename, fsync the directory.
# On failure the file is unchanged and WRITE_ERROR has the reason.
write_file() { # FILE CONTENT
    local directory=.
    [[ $1 != */* ]] || directory=${1%/*}
    if WRITE_ERROR=$({ printf '%s\n' "$2" >"$1.tmp" && sync "$1.tmp" && mv "$1.tmp" "$1" && sync "$directory"; } 2>&1); then
        return 0
    fi
    rm -f "$1.tmp"
    return 1
}

# Replace the content of a small file: in place if the disk is full, which needs no further block.
overwrite_file() { # FILE CONTENT of at most 511 bytes
    write_file "$@" || { printf '%-511s\n' "$2" 1<>"$1"; } 2>/dev/null || log "cannot write $1: $WRITE_ERROR"
}

# -- lock ---------------------------------------------------------------------------------------

# Take the lock (flock on descriptor 9). Docker commands inherit the descriptor: after a kill the lock
# stays held until the last command that changes containers has ended.
acquire_lock() { # COMMAND [TIMEOUT-SECONDS]
    mkdir -p "$HISTORY_DIR"
    # A release that continues with the code of its own tree holds the lock already.
    ! [[ /proc/self/fd/9 -ef $LOCK_FILE && $(jq .pid "$LOCK_HOLDER_FILE" 2>/dev/null) == "$$" ]] || return 0
    [[ /proc/self/fd/9 -ef $LOCK_FILE ]] || exec 9>>"$LOCK_FILE"
    if ! flock --timeout "${2:-0}" 9; then
        ! is_lock_holder_alive || return 1
        log "the process that held the lock was killed; waiting for the command it had started"
        flock --timeout 600 9 || return 1
    fi
    overwrite_file "$LOCK_HOLDER_FILE" "$(jq -nc --arg command "$1" --argjson pid $$ --arg user "$(id -un)" \
        --argjson acquired_at "$(now)" --arg release "$(get_state .id)" --arg phase "$(get_state .phase)" \
        --argjson attempts "$(count_attempts "$1")" '$ARGS.named')"
}

# Count the attempts of `supervise`, this one included, to resume a release in its phase. A phase that was
# reached, and a process that ran for ten minutes, start the count again.
count_attempts() { # COMMAND
    [[ $1 == supervise ]] || { echo 0; return; }
    jq --arg release "$(get_state .id)" --arg phase "$(get_state .phase)" --argjson now "$(now)" '
        if .command == "supervise" and .release == $release and .phase == $phase and .acquired_at > $now - 600
        then .attempts + 1 else 1 end' "$LOCK_HOLDER_FILE" 2>/dev/null || echo 1
}

is_lock_holder_alive() {
    local pid
    pid=$(jq -r .pid "$LOCK_HOLDER_FILE" 2>/dev/null) || return 1
    [[ -r /proc/$pid/cmdline ]] && tr '\0' ' ' <"/proc/$pid/cmdline" | grep -q canary_release
}

describe_lock_holder() {
    jq -r '"\(.command) by \(.user) (PID \(.pid)) since \(.acquired_at | strflocaltime("%F %T%z"))"' \
        "$LOCK_HOLDER_FILE"
}

# Sleep without the lock's descriptor: a sleep that outlives a killed release must not hold the lock.
wait_seconds() { sleep "$1" 9>&-; }

# -- state file ---------------------------------------------------------------------------------

# A state file that is damaged or of another format must not be mistaken for "no release in progress".
check_state() {
    local format
    ! jq -e 'has("refused")' "$STATE_FILE" >/dev/null 2>&1 || (convert_state) 9>>"$LOCK_FILE" || exit
    format=$(jq -c '.format // 1' "$STATE_FILE" 2>/dev/null) || format=$STATE_FORMAT # missing or damaged
    [[ $format == "$STATE_FORMAT" ]] || fail "$STATE_FILE has format $format, and this script reads format $STATE_FORMAT:" \
        "nothing was changed; run the script of the commit that has written it"
    [[ ! -e $STATE_FILE ]] || jq -e 'type == "object" and has("phase")' "$STATE_FILE" >/dev/null 2>&1 ||
        fail "$STATE_FILE is damaged; see docs/releasing.md (The state file) before moving it away"
}

# Replace the state file of version 0.2.0. A release that is running, with the lock, writes that form.
convert_state() {
    local state
    flock --nonblock 9 ||
        fail "a release that version 0.2.0 has started is running: wait for its end, or abort it (docs/upgrade.md, From 0.2.0)"
    state=$(jq -f "$CODE_DIR/scripts/release/convert_state.jq" "$STATE_FILE") || fail "cannot convert $STATE_FILE"
    write_file "$STATE_FILE" "$state" || fail "cannot write $STATE_FILE: $WRITE_ERROR"
    rm -f "$STATE_DIR"/{holder,order}.json # of version 0.2.0
}

jq_state() { # JQ-OPTION... JQ-FILTER; runs jq on the current state
    if [[ -n $UNSAVED_STATE ]]; then
        printf '%s\n' "$UNSAVED_STATE" | jq "$@"
    else
        jq "$@" "$STATE_FILE"
    fi
}

get_state() { # JQ-PATH; prints nothing for a missing or null field
    [[ ! -e $STATE_FILE ]] || jq_state -r "$1 // empty"
}

in_progress() { [[ -e $STATE_FILE && $(get_state .phase) != completed ]]; }
succeeded() { [[ $(get_state .outcome) =~ ^(promoted|rolled-back)$ ]]; }

# Change the state. Where it cannot be written, the change stays in memory (full_disk.sh).
update_state() { # JQ-FILTER [JQ-OPTION...]
    local filter=$1 updated
    shift
    updated=$(jq_state "$@" "$filter") || fail "cannot update $STATE_FILE"
    UNSAVED_STATE=$updated
    save_state || report_full_disk "$STATE_FILE"
}

save_state() {
    [[ -n $UNSAVED_STATE ]] || return 0
    write_file "$STATE_FILE" "$UNSAVED_STATE" || return 1
    UNSAVED_STATE=''
}

transition() { # PHASE [JQ-FILTER [JQ-OPTION...]]
    local phase=$1 filter=${2:-.}
    shift $(($# < 2 ? $# : 2))
    update_state "$filter | .phase = \$phase | .phase_started_at = \$now" --arg phase "$phase" \
        --argjson now "$(now)" "$@"
    append_history phase_started '{phase}'
    write_metrics
}

# -- history: one JSON object a line for each event of a release ----------------------------------

# Append an event with the details that a filter selects from the state. A full disk does not end a release.
append_history() { # EVENT JQ-FILTER [JQ-OPTION...]
    local id line file
    { read -r id && IFS= read -r line; } < <(jq_state -r --argjson time "$(now)" --arg event "$1" "${@:3}" \
        ".id, ({time: \$time, event: \$event} + ($2) | tojson)") || return
    file=$HISTORY_DIR/$id.jsonl
    [[ -z $(tail -c 1 "$file" 2>/dev/null) ]] || line=$'\n'$line # after a line that was cut by a full disk
    { printf '%s\n' "$line" >>"$file"; } 2>/dev/null ||
        log "cannot write the history of the release: $1"
}

prune_history() {
    local file
    find "$HISTORY_DIR" -name '*.jsonl' | sort -r | tail -n +$((RELEASE_KEPT_HISTORY + 1)) |
        while read -r file; do
            rm "$file"
            rm -rf "${ANALYSIS_DIR:?}/$(basename "$file" .jsonl)"
        done
}

# -- requests: an operator's action for a release that another process runs ------------------------

request_action() { # abort|promote|supersede REASON
    write_file "$REQUEST_FILE" "$(jq -n --arg action "$1" --arg reason "$2" \
        --arg release "$(get_state .id)" '$ARGS.named')" || fail "cannot write $REQUEST_FILE: $WRITE_ERROR"
}

get_requested_action() { # fails without a request for this release
    [[ -e $REQUEST_FILE ]] || return 1
    jq -er --arg release "$(get_state .id)" 'select(.release == $release) | .action' "$REQUEST_FILE" 2>/dev/null
}
