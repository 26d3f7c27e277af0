# shellcheck shell=bash disable=SC2016 # variables in single quotes are jq's
# Orders of the console to abort, promote or roll back: files that it writes (app/orders.py). The process of a
# release reads them once a second, and `supervise` at each run. An order is recorded in ORDERS_LOG, which
# the console shows, before it is carried out: so at most once. docs/releasing.md (Orders of the console).

readonly ORDERS_DIR=data/orders/pending
readonly ORDERS_LOG=$STATE_DIR/orders.jsonl
readonly ORDER_FORMAT=1
readonly KEPT_ORDERS=100

# The fields of an order that is in force, in one line; nothing for one that has expired, is of the scheduler,
# or is none. `refused` says why it cannot be carried out whatever the state is.
readonly JQ_READ_ORDER='select(type == "object" and .action != "retrain")
    | select((.expires_at | type) == "number" and .expires_at > $now and .expires_at <= $now + 180)
    | select(($id[:10] | tonumber) <= $now + 60)
    | {action, release: "\(.release // "")", reason: ("\(.reason // "")" | gsub("[\\x00-\\x1f\\x7f]"; " ") | .[:300]),
       refused: (if .format != $format then "format \(.format), and this script reads format \($format)"
                 elif .action | IN("abort", "promote", "rollback") | not then "an unknown action"
                 else "" end)}'

# Carry out the orders in force. Prints the id of an order to roll back, which the caller carries out.
take_orders() {
    compgen -G "$ORDERS_DIR/*.json" >/dev/null || return 0
    mkdir -p "$STATE_DIR"
    (
        # The files belong to another program: whatever is in them must not end the release.
        trap - ERR
        flock --timeout 5 7 || exit 0
        local file id order last
        last=$(jq -rRn '[inputs | fromjson? | .id? | strings] | max // "0"' "$ORDERS_LOG" 2>/dev/null) || last=0
        for file in "$ORDERS_DIR"/*.json; do
            id=${file##*/} id=${id%.json}
            [[ $id =~ ^[0-9]{19}$ && -f $file && ! -L $file ]] && ((10#$id > 10#$last)) || continue
            order=$(head -c 4096 "$file" | jq -c --arg id "$id" --argjson now "$(now)" \
                --argjson format "$ORDER_FORMAT" "$JQ_READ_ORDER" 2>/dev/null) && [[ -n $order ]] || continue
            take_order "$id" "$order"
        done
    ) 7>>"$STATE_DIR/orders.lock" || log "the orders of the console could not be read"
}

take_order() { # ID JSON
    local action reason refused
    action=$(jq -r .action <<<"$2")
    reason=$(jq -r .reason <<<"$2")
    refused=$(jq -r .refused <<<"$2")
    [[ -n $refused ]] || refused=$(check_order "$action" "$(jq -r .release <<<"$2")")
    if [[ -n $refused ]]; then
        log "order $1 of the console to $action was refused: $refused"
        record_order "$1" "$action" refused "$refused" || true
        return
    fi
    record_order "$1" "$action" accepted "$reason" || return 0
    log "order $1 of the console: $action: $reason"
    case $action in
        abort) request_action abort "aborted by $reason" ;;
        promote) request_action promote "promoted by $reason, before the verdict" ;;
        rollback) echo "$1"; exit ;; # what follows waits for its end
    esac
}

# Print why an order does not apply now; nothing if it does.
check_order() { # ACTION RELEASE
    local phase
    phase=$(get_state .phase)
    if [[ $2 != "$(get_state .id)" ]]; then
        echo "it was given for release ${2:-none}, and the last one is $(get_state .id)"
    elif [[ $1 == rollback ]]; then
        ! in_progress || echo "a release is in progress"
    elif ! in_progress; then
        echo "no release is in progress"
    elif [[ $1 == promote && $phase != analyzing ]]; then
        echo "no canary is being analyzed"
    elif [[ $phase =~ ^(promoting|restoring|finalizing)$ ]]; then
        echo "too late: the release is in phase $phase"
    fi
}

# Append what happened to an order; fails where it cannot be written.
record_order() { # ID ACTION accepted|refused|done|failed DETAIL
    local line kept
    line=$(jq -nc --arg id "$1" --arg action "$2" --arg outcome "$3" --arg detail "$4" --argjson time "$(now)" '$ARGS.named')
    kept=$(tail -n $((KEPT_ORDERS - 1)) "$ORDERS_LOG" 2>/dev/null) || kept=''
    write_file "$ORDERS_LOG" "${kept:+$kept$'\n'}$line" || { log "cannot write $ORDERS_LOG: $WRITE_ERROR"; return 1; }
}

# Roll back in a process of its own, whose outcome is recorded.
roll_back_as_ordered() { # ID
    log "rolling back, log: $LOG_FILE"
    if "$CODE_DIR/scripts/canary_release.sh" rollback >>"$LOG_FILE" 2>&1; then
        record_order "$1" rollback 'done' "$(get_state .outcome)" || true
    else
        record_order "$1" rollback failed "$(tail -n 1 "$LOG_FILE" | head -c 300)" || true
    fi
}
