# canary_release.sh supervise: a release that is killed in any phase, or whose disk is full, is guarded and
# completes by itself. Docker and Prometheus are fakes; the full disk is a small tmpfs. `make soak` runs the
# tests of the other phases and faults.

load fakes/setup.bash
bats_require_minimum_version 1.5.0

setup() {
    setup_fakes
    export RELEASE_GUARD_INTERVAL=1s
}

teardown() {
    [[ -z ${running:-} ]] || kill -9 "$running" 2>/dev/null || true
    [[ -z ${disk:-} ]] || umount --lazy "$disk"
}

release() { run --separate-stderr scripts/canary_release.sh "$@"; }
slot_images() { cat "$FAKES"/slots/* | sort -u; }
notified() { grep -q -- "$1" "$FAKES/notifications"; }
count_notifications() { grep -c -- "--subject $1" "$FAKES/notifications"; }
kill_in() { echo "$*" >"$FAKES/kill_in"; } # PHASE [always]
is_serving_candidate() { [[ $(<"$FAKES/slots/canary") == "$NEW_IMAGE" && ! -e $FAKES/stopped/canary ]]; }
evaluations() { jq -r 'select(.event == "evaluation").kind' data/release/history/*.jsonl; }

start_in_background() { # COMMAND...
    scripts/canary_release.sh "$@" >>"$FAKES/log" 2>&1 3>&- &
    running=$!
}

# Put the clone, with state, slots and outbox, on a file system of its own.
use_small_disk() {
    cp -a "$clone" "$BATS_TEST_TMPDIR/copy"
    mount -t tmpfs -o size=8m tmpfs "$clone" 2>/dev/null || skip "a file system cannot be mounted here"
    disk=$clone
    cp -a "$BATS_TEST_TMPDIR/copy/." "$clone"
    cd "$clone" || return
}

fill_disk() { ! cat /dev/zero >data/fill 2>/dev/null; }
free_disk() { rm data/fill; }

@test "supervise: does nothing without a release, after one, and while one runs" {
    release supervise
    [[ $status == 0 && -z $output$stderr && ! -e data/release/lock ]]
    RELEASE_ANALYSIS_WINDOW=1h start_in_background start
    wait_until is_in analyzing
    release supervise
    [[ $status == 0 && -z $output$stderr && $(jq -r .command data/release/lock_holder.json) == start ]]
    release abort
    release supervise
    [[ $status == 0 && -z $output$stderr && ! -e data/release/release.log ]]
}

@test "supervise: a release that was killed is promoted, after Docker responds again" {
    kill_in promoting
    release start
    [[ $status == 137 && $(get_state .phase) == promoting ]]
    export RELEASE_MAX_ATTEMPTS=1 # these are none
    touch "$FAKES/engine_down"
    for _ in 1 2; do
        release supervise
        [[ $status == 1 && $stderr == *"Docker does not respond"* ]]
    done
    rm "$FAKES/engine_down"
    release supervise
    [[ $status == 0 && $(get_state .outcome) == promoted && $(slot_images) == "$NEW_IMAGE" ]]
    [[ $stderr == *"its process has ended in phase promoting; resuming it (attempt 1), log: data/release/release.log"* ]]
    notified "Successfully deployed new model: version 2"
}

@test "supervise: a release killed in each phase is promoted" {
    soak_only
    export RELEASE_ANALYSIS_WINDOW=3s
    command=start
    for phase in building verifying deploying analyzing promoting finalizing; do
        kill_in "$phase"
        release "$command"
        [[ $status == 137 && $(get_state .phase) == "$phase" ]]
        command=supervise
    done
    release supervise
    [[ $status == 0 && $(get_state .outcome) == promoted && $(slot_images) == "$NEW_IMAGE" ]]
    [[ $stderr == *"its process has ended in phase finalizing; resuming it (attempt 1), log: data/release/release.log"* ]]
    [[ $(grep -c "resumed by supervise" data/release/release.log) == 6 ]]
    grep -q "promoting" data/release/release.log
    notified "Successfully deployed new model: version 2"
}

@test "supervise: a resumed canary is evaluated by a guard at once" {
    export RELEASE_ANALYSIS_WINDOW=1h RELEASE_GUARD_INTERVAL=1m
    start_in_background start
    wait_until is_in analyzing
    kill -9 "$running"
    jq '.analysis_started_at -= 300' data/release/state.json >new && mv new data/release/state.json
    killed_at=$(date +%s)
    start_in_background supervise
    wait_until grep -qs '"kind":"guard"' data/release/history/*.jsonl
    grep -q "phase analyzing; resuming it" "$FAKES/log"
    echo "# a guard was evaluated $(($(jq -s 'last.evaluated_at' data/release/history/*.jsonl) - killed_at)) s after the kill, without the timer's 15 s" >&3
}

@test "supervise: a release killed while it aborts gives the canary slot the stable image" {
    soak_only
    echo slow >"$FAKES/prometheus"
    for phase in aborting finalizing; do
        kill_in "$phase"
        release "$([[ -e data/release/state.json ]] && echo supervise || echo start)"
        [[ $status == 137 && $(get_state .phase) == "$phase" ]]
    done
    release supervise
    [[ $(get_state .outcome) == aborted && $(slot_images) == "$OLD_IMAGE" ]]
    notified "Release of version 2 aborted: guard in minute 0: mean latency 700 ms"
}

@test "supervise: a release killed while it restores gives every slot the stable image" {
    soak_only
    echo stable-2 >"$FAKES/unready_slots"
    kill_in restoring
    RELEASE_READINESS_TIMEOUT=1s release start
    [[ $status == 137 && $(get_state .phase) == restoring ]]
    release supervise
    [[ $(get_state .outcome) == failed && $(slot_images) == "$OLD_IMAGE" ]]
}

@test "supervise: two at the same time resume a release once" {
    soak_only
    kill_in verifying
    release start
    start_in_background supervise
    release supervise
    wait "$running" || true
    [[ $(get_state .outcome) == promoted && $(grep -c "resumed by supervise" data/release/release.log) == 1 ]]
}

@test "supervise: ends a release whose process is killed again and again, and stops the canary" {
    soak_only
    export RELEASE_ANALYSIS_WINDOW=1h RELEASE_MAX_ATTEMPTS=2
    kill_in analyzing always
    release start
    for _ in 1 2; do
        release supervise
        [[ $status == 137 && $(get_state .phase) == analyzing ]]
        is_serving_candidate
    done
    release supervise # the third does not analyze
    [[ $status == 1 && $(get_state .outcome) == failed && $(slot_images) == "$OLD_IMAGE" ]]
    grep -qx "stop c-canary" "$FAKES/docker"
    notified "Release of version 2: 2 attempts to resume it in phase analyzing have failed"
    notified "Release of version 2 failed: 2 attempts to resume it in phase analyzing have failed"
}

@test "supervise: ends a release in a bounded number of attempts, whatever kills it" {
    soak_only
    kill_in promoting
    release start
    export RELEASE_MAX_ATTEMPTS=1
    kill_in any always
    for _ in promoting restoring aborting finalizing; do
        release supervise
        release supervise
    done
    [[ $(get_state '"\(.phase) \(.outcome)"') == "completed failed" ]]
}

@test "supervise: stops the canary if a release cannot be resumed, and ends it when it can" {
    kill_in analyzing
    release start
    export RELEASE_MAX_ATTEMPTS=1
    phases=(analyzing aborting)
    ! is_soak || phases+=(aborting finalizing)
    for phase in "${phases[@]}"; do
        RELEASE_MARQUEE=nowhere/marquee release supervise
        [[ $status == 1 && $(get_state .phase) == "$phase" ]]
    done
    [[ -e $FAKES/stopped/canary ]]
    grep -q "nowhere/marquee is not installed" data/release/release.log
    grep -q "1 attempts to resume it in phase analyzing have failed" data/release/release.log
    release supervise
    [[ $(get_state '"\(.phase) \(.outcome)"') == "completed failed" ]]
}

@test "full disk: a guard aborts in memory, the canary is stopped, a person is notified, and it completes with free space" {
    use_small_disk
    RELEASE_ANALYSIS_WINDOW=1h start_in_background start
    wait_until is_in analyzing
    kill -9 "$running"
    fill_disk
    RELEASE_ANALYSIS_WINDOW=1h start_in_background supervise
    wait_until grep -qs "cannot write its files: No space left on device" "$FAKES/notifications"
    is_serving_candidate
    [[ $(jq -r .pid data/release/lock_holder.json) == "$running" ]]
    echo slow >"$FAKES/prometheus"
    wait_until test -e "$FAKES/stopped/canary"
    [[ $(get_state .phase) == analyzing ]] # on disk
    kill -0 "$running"
    [[ $(count_notifications "Release of version 2 cannot write") == 1 ]]
    free_disk
    wait_until is_in completed
    wait "$running" || true
    [[ $(get_state .outcome) == aborted && $(slot_images) == "$OLD_IMAGE" && ! -e $FAKES/stopped/canary ]]
    notified "Release of version 2 aborted: guard in minute 0: mean latency 700 ms"
}

@test "full disk: promotes nothing until there is space, and guards continue after the deadline" {
    soak_only
    use_small_disk
    RELEASE_ANALYSIS_WINDOW=3s start_in_background start
    wait_until is_in analyzing
    fill_disk
    wait_until grep -qs "verdict: PROMOTE" "$FAKES/log"
    wait_until grep -qs "cannot write its files" "$FAKES/notifications"
    guards=$(wc -l <"$FAKES/evaluated")
    wait_until more_guards "$guards"
    [[ $(cut -d' ' -f1 "$FAKES/ups" | tr '\n' ' ') == "canary " ]]
    free_disk
    wait_until is_in completed
    [[ $(get_state .outcome) == promoted && $(slot_images) == "$NEW_IMAGE" ]]
}

more_guards() { (($(wc -l <"$FAKES/evaluated") > $1 + 2)); } # than this number

@test "full disk: no canary is deployed, and a killed process is resumed" {
    soak_only
    use_small_disk
    kill_in verifying
    release start
    fill_disk
    start_in_background supervise
    wait_until grep -qs "cannot write its files" "$FAKES/notifications"
    kill -9 "$running"
    [[ ! -e $FAKES/ups ]]
    start_in_background supervise
    free_disk
    wait_until is_in completed
    [[ $(get_state .outcome) == promoted ]]
}

@test "full disk: a message that is neither sent nor saved is sent later" {
    soak_only
    use_small_disk
    kill_in verifying
    release start
    fill_disk
    NOTIFY_FAILS=1 start_in_background supervise
    wait_until grep -qs "the notification could not be sent" "$FAKES/log"
    free_disk
    wait_until has_sent_twice "Successfully deployed"
}

has_sent_twice() { (($(count_notifications "$1") == 2)); } # SUBJECT

@test "supervise: sends pending notifications once a minute, and counts them in metrics" {
    metric() { grep -qx "marquee_notification_$1_messages $2" monitoring/release/host.prom; }
    release supervise
    metric outbox 0
    mkdir data/outbox
    touch data/outbox/{1,2}.message data/outbox/3.undeliverable
    touch -d '2 minutes ago' monitoring/release/host.prom
    for _ in 1 2; do
        NOTIFY_FAILS=1 release supervise
        [[ $status == 0 && $(grep -c -- "notify --flush" "$FAKES/notifications") == 1 ]]
    done
    metric outbox 2
    metric undeliverable 1
    grep -q '^marquee_volume_free_bytes{volume="release"} [1-9]' monitoring/release/host.prom
    touch -d '2 minutes ago' data/outbox/.lock
    release supervise
    [[ $(grep -c -- "notify --flush" "$FAKES/notifications") == 2 ]]
}

@test "the systemd units are valid" {
    command -v systemd-analyze >/dev/null || skip "systemd-analyze is not installed (scripts/install_system.sh shell)"
    cp "$root"/scripts/release/marquee-release@.* "$root"/scripts/marquee-backup@.* "$BATS_TEST_TMPDIR"
    mkdir "$BATS_TEST_TMPDIR/bin" && printf '#!/bin/sh\n' >"$BATS_TEST_TMPDIR/bin/marquee" && chmod +x "$BATS_TEST_TMPDIR/bin/marquee"
    sed "s|/srv/marquee/.venv|$BATS_TEST_TMPDIR|" "$root/scripts/marquee-scheduler.service" >"$BATS_TEST_TMPDIR/marquee-scheduler.service"
    cd "$BATS_TEST_TMPDIR"
    # Unknown keys are warnings with the exit status 0.
    run systemd-analyze verify --man=no ./marquee-{release,backup}@.{service,timer} ./marquee-scheduler.service
    [[ $status == 0 && -z $output ]]
    grep -q '^OnUnitInactiveSec=15s$' marquee-release@.timer
    grep -q '^OnCalendar=\*-\*-\* ' marquee-backup@.timer
    grep -q '^ExecStart=.*/scripts/backup.sh$' marquee-backup@.service
}
