# deploy.sh: what it refuses, and that it returns when a release has begun. Docker and Prometheus
# are stand-ins (tests/shell/release); tests/e2e has the real ones, and an sshd.

load release/world.bash
bats_require_minimum_version 1.5.0

setup() {
    make_world
    cp "$root"/scripts/deploy*.sh scripts
    commit "Deploy"
    git clone -q --bare . "$BATS_TEST_TMPDIR/origin.git"
    git remote add origin "$BATS_TEST_TMPDIR/origin.git"
    git fetch -q && git branch -q --set-upstream-to="origin/$(git branch --show-current)"
    git clone -q "$BATS_TEST_TMPDIR/origin.git" "$BATS_TEST_TMPDIR/desk"
}

commit() { git add -A && git -c user.name=a -c user.email=a@b commit -q -m "$1"; }

push() { # a new version, from somebody's desk
    (cd "$BATS_TEST_TMPDIR/desk" && echo "$1" >version.txt && commit "version $1" && git push -q)
}

deploy() { run --separate-stderr scripts/deploy.sh "$@"; }
state() { jq -r "$1" data/release/state.json; }
ended() { # and the process gone
    for _ in {1..200}; do
        [[ $(state .phase) != ended ]] || { flock data/release/lock true; return; }
        sleep 0.1
    done
    return 1
}

teardown() { [[ ! -e data/release/state.json ]] || ended; }

@test "they explain themselves when asked, and refuse what they do not know with 2" {
    deploy --help
    [[ $status == 0 && $output == *USAGE*"EXIT STATUS"* ]]
    deploy --now
    [[ $status == 2 ]]
    run scripts/deploy_over_ssh.sh --help
    [[ $status == 0 && $output == *DEPLOY_KNOWN_HOSTS*"EXIT STATUS"* ]]
    run env -u DEPLOY_KEY scripts/deploy_over_ssh.sh # a pipeline has it set
    [[ $status == 2 && $output == *"DEPLOY_KEY is not set"* ]]
}

@test "it goes forward, starts the release and returns before that has ended" {
    push 3
    RELEASE_ANALYSIS_WINDOW=3s deploy
    [[ $status == 0 && $stderr == *"has begun"* && $(<version.txt) == 3 && $(state .phase) != ended ]]
    ended
    [[ $(state '.outcome + .version') == promoted3 ]]
}

@test "what is in service is not released again" {
    deploy
    ended
    deploy
    [[ $status == 0 && $stderr == *"this very version is in service: nothing to release"* ]]
}

@test "a release in progress is not disturbed: refused, and the tree stays" {
    RELEASE_ANALYSIS_WINDOW=4s deploy
    [[ $status == 0 ]]
    push 3
    deploy
    [[ $status == 1 && $stderr == *"is in progress"*"nothing was changed"* && $(<version.txt) == 2 ]]
}

@test "a clone that cannot go forward stays as it is" {
    push 3
    echo 9 >version.txt
    commit "something of the server's own"
    deploy
    [[ $status == 1 && $stderr == *"cannot go forward"* && $(<version.txt) == 9 && ! -e data/release/state.json ]]
}

@test "a release that does not begin is said to the pipeline, with its reason" {
    push 3
    RELEASE_MIN_FREE_DISK_MB=999999999 deploy
    [[ $status == 1 && $stderr == *"MiB of disk are free"*"the release did not begin"* ]]
}
