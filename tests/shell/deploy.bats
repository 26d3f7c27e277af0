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
        ! is_in completed || { flock data/release/lock true; return; }
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

@test "a slot keeps its definition of before the merge until its release changes it" {
    git rev-parse HEAD >"$FAKES/commit"
    push_version 3
    (cd "$BATS_TEST_TMPDIR/developer" && sed -i 's/512m/1g/' docker-compose.yml && commit "more memory" && git push -q)
    RELEASE_ANALYSIS_WINDOW=5s deploy
    [[ $status == 0 && $(<docker-compose.yml) == *1g* ]]
    pinned() { sed -n "s/^  $1: !override //p" docker-compose.override.yml | jq -r .mem_limit; }
    [[ $(pinned stable-1) == 512m ]]
    wait_until_completed
    [[ $(get_state .outcome) == promoted && $(pinned stable-1) == 1g ]]
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

@test "deploys only signed commits where signers are configured, and runs nothing of others" {
    command -v ssh-keygen >/dev/null || skip "ssh-keygen is not installed"
    for name in trusted other; do ssh-keygen -q -t ed25519 -N "" -f "$BATS_TEST_TMPDIR/$name"; done
    echo "developer@example $(cat "$BATS_TEST_TMPDIR/trusted.pub")" >"$BATS_TEST_TMPDIR/signers"
    git config marquee.allowedSigners "$BATS_TEST_TMPDIR/signers"
    head=$(git rev-parse HEAD)
    git -C "$BATS_TEST_TMPDIR/developer" config gpg.format ssh
    for key in none other; do
        git -C "$BATS_TEST_TMPDIR/developer" config user.signingKey "$BATS_TEST_TMPDIR/$key"
        [[ $key == none ]] || git -C "$BATS_TEST_TMPDIR/developer" config commit.gpgSign true
        push_version "$key"
        deploy
        [[ $status == 1 && $stderr == *"is not signed by one of $BATS_TEST_TMPDIR/signers; nothing was changed"* ]]
        [[ $(git rev-parse HEAD) == "$head" && ! -e data/release/state.json ]]
    done
    git -C "$BATS_TEST_TMPDIR/developer" config user.signingKey "$BATS_TEST_TMPDIR/trusted"
    push_version 3
    deploy
    [[ $status == 0 && $(<version.txt) == 3 ]]
}

@test "exits with 1 and the reason if the release does not start; a stack that does not run is not updated" {
    push_version 3
    RELEASE_MIN_FREE_DISK_MB=999999999 deploy
    [[ $status == 1 && $stderr == *"no service of the stack is running"* && ! -e $FAKES/stack ]]
    [[ $stderr == *"MiB of disk space are free"*"the release has not started"* ]]
}

start_stack() { # without a file `running` no service runs beside the slots
    printf '%s\n' init migrate shipper scheduler prometheus nginx simulator >"$FAKES/running"
    echo definition-of-the-tree >"$FAKES/nginx_hash"
    export RELEASE_MIN_FREE_DISK_MB=999999999 # the release that follows is refused, for speed
}
updated() { [[ $stderr == *"the release has not started"* ]]; } # all steps of the stack are done

@test "brings the services beside the slots to the commit before the release: tables first, no slot, no demo" {
    start_stack
    push_version 3
    echo "ps --quiet" >"$FAKES/ps_fails" # which tells whether the stack runs
    MARQUEE_SMTP_HOST=on-this-host:25 RELEASE_MIN_FREE_DISK_MB=1 RELEASE_ANALYSIS_WINDOW=1s deploy
    [[ $status == 0 ]]
    up="up -d --no-build --quiet-pull"
    wait="--wait --wait-timeout 300"
    [[ $(<"$FAKES/stack") == "build init migrate shipper scheduler, commit 3 
$up init, commit 3 
$up migrate, commit 3 
$up $wait shipper prometheus, commit 3 
$up $wait scheduler, commit 3 " ]]
    wait_until_completed
    [[ $(get_state .outcome) == promoted ]]
    [[ $(grep -nm1 "up -d --no-deps" "$FAKES/docker" | cut -d: -f1) -gt $(grep -n "wait scheduler" "$FAKES/docker" | cut -d: -f1) ]]
}

@test "stops at a step of the stack that fails, starts no release, and continues when it is repeated" {
    start_stack
    push_version 3
    echo 1 >"$FAKES/status-migrate"
    deploy
    [[ $status == 1 && $stderr == *"the log of migrate"*"tables of the database cannot be upgraded"*"again to continue"* ]]
    [[ ! -e data/release/state.json && $(grep -c shipper "$FAKES/stack") == 1 ]] # built
    rm "$FAKES/status-migrate"
    deploy
    updated
    [[ $(grep -c "wait-timeout 300 shipper" "$FAKES/stack") == 1 ]]
}

@test "names the step that failed, and shows the end of its output" {
    start_stack
    for failure in "build init:images cannot be built" "quiet-pull init:secrets or the settings" \
        "shipper prometheus:does not become healthy"; do
        STACK_FAILS=${failure%%:*} deploy
        [[ $status == 1 && $stderr == *"it does not work"*"${failure#*:}"* && ! -e data/release/state.json ]]
    done
    rm "$FAKES/stack"
    NGINX_FAILS=1 deploy
    [[ $status == 1 && $stderr == *"unknown directive"*"NGINX rejects its configuration"* && ! -e $FAKES/stack ]]
}

@test "does not replace the scheduler during a retraining, but after it" {
    start_stack
    touch "$FAKES/retraining"
    export SCHEDULER_POLL_SECONDS=0.1
    deploy
    updated
    [[ $stderr == *"a retraining is running"* ]]
    deploy # finds the process that waits
    [[ $(<"$FAKES/stack") != *"300 scheduler"* ]]
    rm "$FAKES/retraining"
    for _ in {1..100}; do
        ! grep -q "is up to date" data/release/scheduler.log || break
        sleep 0.1
    done
    [[ $(grep -c "300 scheduler" "$FAKES/stack") == 1 ]]
    grep -q "another process is waiting" data/release/scheduler.log
}

@test "does not replace the container of NGINX, and says that its definition has changed" {
    start_stack
    echo an-earlier-definition >"$FAKES/nginx_hash"
    deploy
    updated
    [[ $stderr == *"'docker compose up -d nginx' replaces its container"* ]]
    [[ $(<"$FAKES/stack") != *"nginx,"* ]]
    sed -i '/nginx/d' "$FAKES/running"
    deploy
    grep -q "300 nginx," "$FAKES/stack" # it did not run
}

@test "refuses a second deployment at the same time, and continues with the script of the new commit" {
    (cd "$BATS_TEST_TMPDIR/developer" && sed -i 's/^    restore_version$/    log "the new script"/' scripts/deploy.sh &&
        commit "Change the script" && git push -q)
    mkdir -p data/release
    flock --no-fork data/release/deploy.lock sleep 600 3>&- &
    holder=$!
    until ! flock --nonblock data/release/deploy.lock true; do sleep 0.05; done
    deploy
    kill "$holder"
    [[ $status == 1 && $stderr == *"another deployment is running; nothing was changed"* ]]
    wait "$holder" || true
    # What git starts in the background, such as a garbage collection, does not hold the lock.
    printf '#!/bin/sh\nsleep 600 </dev/null >/dev/null 2>&1 &\necho $! >"%s"\n' "$BATS_TEST_TMPDIR/background" >.git/hooks/post-merge
    chmod +x .git/hooks/post-merge
    RELEASE_MIN_FREE_DISK_MB=999999999 deploy
    flock --nonblock data/release/deploy.lock true && is_free=yes || is_free=no
    kill "$(<"$BATS_TEST_TMPDIR/background")"
    [[ $stderr == *"the new script"* && $is_free == yes ]]
}
