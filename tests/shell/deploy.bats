# deploy.sh: what it refuses, and that it returns as soon as a release has started. Docker and
# Prometheus are fakes (tests/shell/fakes); tests/e2e uses the real ones and an SSH server.

load fakes/setup.bash
bats_require_minimum_version 1.5.0

setup() {
    setup_fakes
    cp "$root"/scripts/deploy*.sh scripts
    git add scripts && commit "Add deploy scripts"
    git clone -q --bare . "$BATS_TEST_TMPDIR/origin.git"
    git remote add origin "$BATS_TEST_TMPDIR/origin.git"
    git fetch -q && git branch -q --set-upstream-to="origin/$(git branch --show-current)"
    git clone -q "$BATS_TEST_TMPDIR/origin.git" "$BATS_TEST_TMPDIR/developer"
}

push_version() { # VERSION; from a developer's clone
    (cd "$BATS_TEST_TMPDIR/developer" && echo "$1" >version.txt && commit "version $1" && git push -q)
}

deploy() { run --separate-stderr scripts/deploy.sh "$@"; }
wait_until_completed() { # and the lock is released
    for _ in {1..200}; do
        [[ $(get_state .phase) != completed ]] || { flock data/release/lock true; return; }
        sleep 0.1
    done
    return 1
}

teardown() { [[ ! -e data/release/state.json ]] || wait_until_completed; }

@test "both scripts print help, and exit with 2 on invalid arguments and missing variables" {
    deploy --help
    [[ $status == 0 && $output == *USAGE*"EXIT STATUS"* ]]
    deploy --now
    [[ $status == 2 ]]
    run scripts/deploy_over_ssh.sh --help
    [[ $status == 0 && $output == *DEPLOY_KNOWN_HOSTS*"EXIT STATUS"* ]]
    run env -u DEPLOY_KEY scripts/deploy_over_ssh.sh # set in a CI pipeline
    [[ $status == 2 && $output == *"DEPLOY_KEY is not set"* ]]
}

@test "fast-forwards, starts the release and returns before it is completed" {
    push_version 3
    RELEASE_ANALYSIS_WINDOW=3s deploy
    [[ $status == 0 && $stderr == *"has started"* && $(<version.txt) == 3 && $(get_state .phase) != completed ]]
    [[ -e docker-compose.override.yml ]]
    wait_until_completed
    [[ $(get_state '.outcome + .version') == promoted3 ]]
}

@test "does not release a version that is already in service" {
    deploy
    wait_until_completed
    deploy
    [[ $status == 0 && $stderr == *"this version is already in service; nothing to release"* ]]
}

@test "refuses while a release is in progress and does not change the tree" {
    RELEASE_ANALYSIS_WINDOW=4s deploy
    [[ $status == 0 ]]
    push_version 3
    deploy
    [[ $status == 1 && $stderr == *"is in progress"*"nothing was changed"* && $(<version.txt) == 2 ]]
}

@test "refuses a version that was changed by hand, and does not change the tree" {
    push_version 3
    head=$(git rev-parse HEAD)
    echo 9 >version.txt
    deploy
    [[ $status == 1 && $stderr == *"deploy.sh: version.txt has uncommitted changes; only a retraining changes it"* ]]
    [[ $(git rev-parse HEAD) == "$head" && $(<version.txt) == 9 && ! -e data/release/state.json ]]
}

@test "does not change a clone that cannot be fast-forwarded" {
    push_version 3
    echo 9 >version.txt
    commit "a local commit"
    deploy
    [[ $status == 1 && $stderr == *"cannot fast-forward"* && $(<version.txt) == 9 && ! -e data/release/state.json ]]
}

@test "exits with 1 and the reason if the release does not start" {
    push_version 3
    RELEASE_MIN_FREE_DISK_MB=999999999 deploy
    [[ $status == 1 && $stderr == *"MiB of disk space are free"*"the release has not started"* ]]
}
