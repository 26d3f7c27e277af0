# shellcheck shell=bash disable=SC2016 # what looks like a variable of the shell is one of jq
# The release on disk: one state file written by rename, one lock, an operator's order, history.

readonly HOME_OF_RELEASES=data/release
readonly STATE=$HOME_OF_RELEASES/state.json
readonly HOLDER=$HOME_OF_RELEASES/holder.json
readonly ORDER_FILE=$HOME_OF_RELEASES/order.json
readonly HISTORY=$HOME_OF_RELEASES/history

keep() { # FILE CONTENT: whole or not at all, also when power fails
    { printf '%s\n' "$2" >"$1.aside" && sync "$1.aside" && mv "$1.aside" "$1" && sync "${1%/*}"; } ||
        fail "$1 cannot be written"
}

# -- one at a time ------------------------------------------------------------------------------

# File 9 is the lock. Commands that change containers inherit it, so that it is free only when
# nothing of a killed release works on any more.
take_lock() { # COMMAND
    mkdir -p "$HISTORY"
    exec 9>>"$HOME_OF_RELEASES/lock"
    if ! flock --nonblock 9; then
        ! holder_lives || return 1
        say "the release that held the lock was killed; waiting for the last it began"
        flock --timeout 600 9 || return 1
    fi
    note_holder "$1"
}

note_holder() { # COMMAND
    keep "$HOLDER" "$(jq -n --arg command "$1" --argjson pid $$ --arg user "$(id -un)" \
        --argjson since "$(epoch)" '$ARGS.named')"
}

holder_lives() {
    local pid
    pid=$(jq -r .pid "$HOLDER" 2>/dev/null) || return 1
    [[ -r /proc/$pid/cmdline ]] && tr '\0' ' ' <"/proc/$pid/cmdline" | grep -q canary_release
}

who_holds() {
    jq -r '"\(.command) of \(.user) (process \(.pid)) since \(.since | strflocaltime("%F %T%z"))"' "$HOLDER"
}

# -- the state ----------------------------------------------------------------------------------

check_state() { # a file that is no state must not be taken for "nothing is in progress"
    [[ ! -e $STATE ]] || jq -e 'type == "object" and has("phase")' "$STATE" >/dev/null 2>&1 ||
        fail "$STATE is damaged; see docs/releasing.md (The state file) before you move it away"
}

field() { # JQ-PATH: its value, empty where there is none
    [[ ! -e $STATE ]] || jq -r "$1 // empty" "$STATE"
}

unfinished() { [[ -e $STATE && $(field .phase) != ended ]]; }

change() { # JQ-FILTER [JQ-OPTION...]
    local filter=$1 changed
    shift
    changed=$(jq "$@" "$filter" "$STATE") || fail "$STATE could not be changed"
    keep "$STATE" "$changed"
}

go() { # PHASE [JQ-FILTER [JQ-OPTION...]]
    local phase=$1 filter=${2:-.}
    shift $(($# < 2 ? $# : 2))
    change "$filter | .phase = \$phase | .since = \$now" --arg phase "$phase" \
        --argjson now "$(epoch)" "$@"
    record phase "$(jq -n --arg phase "$phase" '$ARGS.named')"
    write_metrics
}

# -- history: one line of JSON for everything that happened --------------------------------------

record() { # EVENT JSON
    jq -nc --argjson time "$(epoch)" --arg event "$1" --argjson what "$2" \
        '{time: $time, event: $event} + $what' >>"$HISTORY/$(field .id).jsonl"
}

prune_history() {
    local file
    find "$HISTORY" -name '*.jsonl' | sort -r | tail -n +$((RELEASE_KEPT_HISTORY + 1)) |
        while read -r file; do rm "$file"; done
}

# -- an operator's word to a release that runs ---------------------------------------------------

give_order() { # ORDER REASON
    keep "$ORDER_FILE" "$(jq -n --arg order "$1" --arg reason "$2" --arg release "$(field .id)" '$ARGS.named')"
}

order_given() { # prints it where there is one for this release
    [[ -e $ORDER_FILE ]] || return 1
    jq -er --arg release "$(field .id)" 'select(.release == $release) | .order' "$ORDER_FILE" 2>/dev/null
}
