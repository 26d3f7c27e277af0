# Orders of the console: files that the process of a release and supervise carry out, once and in time. Docker
# and Prometheus are fakes.

load fakes/setup.bash
bats_require_minimum_version 1.5.0

setup() {
    setup_fakes
    orders=data/orders/pending
    mkdir -p "$orders" data/release
    sequence=0
}

teardown() { [[ -z ${running:-} ]] || kill -9 "$running" 2>/dev/null || true; }

# Write an order as the console does; `id` becomes its id.
give() { # ACTION RELEASE [JQ-FILTER]
    sequence=$((sequence + 1))
    id=$(date +%s)$(printf %09d "$sequence")
    jq -n --arg id "$id" --arg action "$1" --arg release "$2" --argjson now "$(date +%s)" '{format: 1, id: $id,
        action: $action, release: $release, reason: "Ada in the console: complaints", expires_at: ($now + 120)}
        | '"${3:-.}" >"$orders/$id.json"
}

supervise() { run --separate-stderr scripts/canary_release.sh supervise; }
outcomes() { jq -r '"\(.action) \(.outcome)"' data/release/orders.jsonl | paste -sd,; }
last_detail() { tail -n 1 data/release/orders.jsonl | jq -r .detail; }
slot_images() { cat "$FAKES"/slots/* | sort -u; }

start_release() { # until it is analyzed, by a process in the background
    RELEASE_ANALYSIS_WINDOW=1h scripts/canary_release.sh start >>"$FAKES/log" 2>&1 3>&- &
    running=$!
    wait_until is_in analyzing
}

@test "orders: a running release is aborted by its own process, without supervise" {
    start_release
    give abort "$(get_state .id)" '.reason = "Ada\u001b\n: complaints"'
    ! wait "$running"
    [[ $(get_state .outcome) == aborted && $(get_state .reason) == "aborted by Ada  : complaints" ]]
    [[ $(outcomes) == "abort accepted" && $(slot_images) == "$OLD_IMAGE" ]]
    jq -e --arg id "$id" '.id == $id and .time > 0' data/release/orders.jsonl
}

@test "orders: a canary is promoted, after orders for another release and one that has expired" {
    start_release
    give abort 20200101T000000Z-v1
    give abort "$(get_state .id)" '.expires_at = $now - 1'
    give abort "$(get_state .id)" '.expires_at = $now + 9999'
    give retrain ""
    give rollback "$(get_state .id)"
    give promote "$(get_state .id)"
    wait "$running"
    [[ $(get_state .outcome) == promoted && $(slot_images) == "$NEW_IMAGE" ]]
    [[ $(outcomes) == "abort refused,rollback refused,promote accepted" ]]
    [[ $(get_state .reason) == "promoted by Ada in the console: complaints, before the verdict" ]]
}

@test "orders: supervise rolls back once, and records how that ended" {
    scripts/canary_release.sh start >>"$FAKES/log" 2>&1
    [[ $(get_state .outcome) == promoted ]]
    give rollback "$(get_state .id)"
    give rollback "$(get_state .id)"
    supervise
    [[ $status == 0 && $(get_state .outcome) == rolled-back && $(slot_images) == "$OLD_IMAGE" ]]
    # The second was given for the release before.
    [[ $(outcomes) == "rollback accepted,rollback refused,rollback done" ]]
    supervise
    [[ -z $stderr && $(wc -l <data/release/orders.jsonl) == 3 ]]
    docker tag "$OLD_IMAGE" marquee:previous
    give rollback "$(get_state .id)"
    supervise
    [[ $status == 0 && $(last_detail) == *"the previous image is already in service" && $(outcomes) == *"rollback failed" ]]
}

@test "orders: whatever else is in the directory ends no release and is not carried out" {
    supervise
    [[ $status == 0 && -z $stderr ]]
    release=""
    give abort "$release"
    supervise
    [[ $(last_detail) == "no release is in progress" ]]
    give abort "$release" '.format = 2'
    supervise
    [[ $(last_detail) == "format 2, and this script reads format 1" ]]
    give reboot "$release"
    supervise
    [[ $(last_detail) == "an unknown action" ]]
    before=$(wc -l <data/release/orders.jsonl)
    echo '{"action": "abort"' >"$orders/$(date +%s)100000000.json"
    echo '[1]' >"$orders/$(date +%s)100000001.json"
    echo '{"expires_at": "never", "action": {}}' >"$orders/$(date +%s)100000002.json"
    give abort "$release"
    mv "$orders/$id.json" data/linked
    ln -s ../../linked "$orders/$id.json"
    mkfifo "$orders/$(date +%s)100000003.json"
    give abort "$release"
    mv "$orders/$id.json" "$orders/99${id:2}.json" # of a clock that is years ahead
    echo '{}' >"$orders/notes.json"
    supervise
    [[ $status == 0 && $(wc -l <data/release/orders.jsonl) == "$before" ]]
}

@test "orders: an order that cannot be recorded is not carried out" {
    mkdir data/release/orders.jsonl.tmp
    give rollback ""
    supervise
    [[ $status == 0 && $stderr == *"cannot write data/release/orders.jsonl"* && ! -e data/release/release.log ]]
    rmdir data/release/orders.jsonl.tmp
    supervise # it is in force for two minutes
    [[ $(outcomes) == "rollback accepted,rollback failed" && -e data/release/release.log ]]
}
