# demo.sh: what it refuses, and that `down` removes the demo and nothing else. Docker is a fake;
# tests/e2e/test_demo.py runs the demo.

bats_require_minimum_version 1.5.0

setup() {
    root=$(cd "$BATS_TEST_DIRNAME/../.." && pwd)
    mkdir -p "$BATS_TEST_TMPDIR"/{bin,clone/scripts}
    cd "$BATS_TEST_TMPDIR/clone" || exit
    cp -r "$root"/scripts/{demo,demo.sh,lib.sh} scripts
    cat >"$BATS_TEST_TMPDIR/bin/docker" <<'EOF'
#!/bin/bash
echo "$*" >>"$BATS_TEST_TMPDIR/docker-calls"
case $* in
    info) exit "${ENGINE_STATUS:-0}" ;;
    ps* | volume\ ls* | network\ ls*) cat "$BATS_TEST_TMPDIR/$1" 2>/dev/null || true ;;
    image\ ls*) printf 'marquee:stable-1\nmarquee-demo:stable-1\nmarquee-demo-candidate:canary\nmy-marquee-demo:1\n' ;;
esac
EOF
    chmod +x "$BATS_TEST_TMPDIR/bin/docker"
    PATH=$BATS_TEST_TMPDIR/bin:$PATH
}

demo() { run --separate-stderr scripts/demo.sh "$@"; }

@test "prints help, and exits with 2 on invalid arguments and environment variables" {
    demo --help
    [[ $status == 0 && $output == *USAGE*"EXIT STATUS"* ]]
    demo sideways
    [[ $status == 2 && $stderr == *"unknown command sideways"* ]]
    demo up again
    [[ $status == 2 && $stderr == *"unexpected argument: again"* ]]
    DEMO_WINDOW=1m demo
    [[ $status == 2 && $stderr == *"DEMO_WINDOW=1m is not a number"* ]]
    MARQUEE_BUILD_CA=no/such.pem demo
    [[ $status == 2 && $stderr == *"no/such.pem does not exist"* ]]
}

@test "up: refuses without a Docker engine and leaves no files" {
    ENGINE_STATUS=1 demo
    [[ $status == 1 && $stderr == *"Docker Engine does not respond"* && ! -e build ]]
}

@test "up: refuses while a demo is running or parts of one are left" {
    echo 0123456789ab >"$BATS_TEST_TMPDIR/ps"
    demo
    [[ $status == 1 && $stderr == *"a demo is running"*"make demo-down"* && ! -e build ]]
    rm "$BATS_TEST_TMPDIR/ps"
    mkdir -p build/demo
    demo
    [[ $status == 1 && $stderr == *"a demo is running"* ]]
}

@test "down: removes containers, volumes, networks, images and files of the demo, and no others" {
    echo container >"$BATS_TEST_TMPDIR/ps"
    echo volume >"$BATS_TEST_TMPDIR/volume"
    echo network >"$BATS_TEST_TMPDIR/network"
    mkdir -p build/demo/server build/other
    demo down
    [[ $status == 0 && $output == *"removed: 1 containers, 1 volumes, 1 networks, 2 image tags"* ]]
    [[ ! -e build/demo && -e build/other ]]
    run grep -E '^(rm|volume rm|network rm|image rm)' "$BATS_TEST_TMPDIR/docker-calls"
    [[ $output == "rm --force --volumes container
rm --force marquee-demo-smoke-test
volume rm --force volume
network rm network
image rm --force marquee-demo:stable-1 marquee-demo-candidate:canary" ]]
    run grep -c 'label=com.docker.compose.project=marquee-demo$' "$BATS_TEST_TMPDIR/docker-calls"
    [[ $output == 3 ]]
}

@test "down: kills a release in the background; succeeds with nothing to remove" {
    mkdir -p build/demo/server/data/release
    (cd build/demo/server && exec setsid sleep 60) &
    release=$!
    until [[ $(readlink "/proc/$release/cwd") == */server && $(ps -o pgid= -p "$release" | tr -d ' ') == "$release" ]]; do sleep 0.1; done
    echo "{\"pid\": $release}" >build/demo/server/data/release/lock_holder.json
    demo down
    [[ $status == 0 ]]
    run ! kill -0 "$release"
    demo down
    [[ $status == 0 && $output == *"removed: 0 containers"* ]]
}

@test "up: a failing step is reported with the end of the log, and files are kept" {
    git init -q && git add . && git -c user.name=a -c user.email=a@b commit -qm Initial
    cat >failing.sh <<'EOF'
set -Eeuo pipefail
for file in lib demo/{common,setup,release_helpers,steps}; do source "scripts/$file.sh"; done
check_preconditions() { :; } # ports of this machine may be in use
compose() { echo "no space left"; return 1; }
read_environment
demo_up
EOF
    run --separate-stderr bash failing.sh
    [[ $status == 1 ]]
    [[ $stderr == *"the preparation failed, at line "*"build_images"*"no space left"*"make demo-down"* ]]
    [[ -e build/demo/server/.env && $(stat -c %a build/demo) == 700 ]]
}

@test "slow.patch applies to the service" {
    cd "$root" || exit
    git apply --check scripts/demo/slow.patch
}
