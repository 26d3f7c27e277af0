# scripts/containers/watch_files.sh with real processes, in the shells that the images have.

setup() {
    root=$(cd "$BATS_TEST_DIRNAME/../.." && pwd)
    cd "$BATS_TEST_TMPDIR" || exit
    mkdir configuration
    echo 1 >configuration/a
    echo 1 >other
    # The program: reports each SIGHUP, and ends at SIGTERM.
    cat >program.sh <<'END'
trap 'echo "reload $(cat configuration/a)"' HUP
trap 'exit 7' TERM
echo "start $$ $*"
while :; do sleep 0.05; done
END
}

watch() { # COMMAND SHELL...; in the background, as process $watched
    WATCH_SECONDS=0.1 "${@:2}" "$root/scripts/containers/watch_files.sh" "$1" configuration -- \
        bash program.sh an "argument with spaces" >output 2>&1 3>&- &
    watched=$!
    wait_for "start $watched an argument with spaces" 1 # the program is this very process
}

wait_for() { # LINE MIN-COUNT
    for _ in {1..400}; do
        (($(grep -cxF "$1" output) < $2)) || return 0
        sleep 0.05
    done
    cat output
    return 1
}

teardown() {
    [[ -z ${watched:-} ]] || { kill -9 "$watched" && wait "$watched"; } 2>/dev/null || true
}

@test "watch_files.sh: runs the command when files have another content, and only then" {
    for shell in sh bash "busybox sh"; do
        command -v "${shell%% *}" >/dev/null || { echo "# $shell skipped: not installed" >&3; continue; }
        echo 1 >configuration/a
        # shellcheck disable=SC2016,SC2086 # variables of the other shell; several words
        watch 'kill -HUP "$PID"' $shell
        echo 2 >other
        cp -p configuration/a new && mv new configuration/a # the same content in another file
        sleep 0.5
        echo 2 >new && mv new configuration/a
        wait_for "reload 2" 1
        [[ $(grep -c reload output) == 1 ]]
        echo 1 >configuration/b
        wait_for "reload 2" 2
        rm configuration/b
        wait_for "reload 2" 3
        watcher=$(pgrep -P "$watched" -f watch_files.sh)
        kill "$watched"
        wait "$watched" || [[ $? == 7 ]]
        while kill -0 "$watcher" 2>/dev/null; do sleep 0.05; done # ends with the program
    done
}

@test "watch_files.sh: repeats a command that fails" {
    # shellcheck disable=SC2016 # variables of the other shell
    watch 'test -e ready && kill -HUP "$PID"' sh
    echo 2 >configuration/a
    wait_for "watch_files.sh: files have changed: configuration" 2
    [[ $(grep -c reload output) == 0 ]]
    touch ready
    wait_for "reload 2" 1
}
