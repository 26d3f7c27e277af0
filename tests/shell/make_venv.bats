#!/usr/bin/env bats
# scripts/make_venv.sh: refusals are clear, and nothing is left behind.

setup() {
    cd "$BATS_TEST_DIRNAME/../.."
    target="$BATS_TEST_TMPDIR/venv"
}

fake_python() { # a python that says it is of another version, or lacks a module
    printf '#!/bin/sh\n%s\n' "$1" >"$BATS_TEST_TMPDIR/python"
    chmod +x "$BATS_TEST_TMPDIR/python"
}

@test "without arguments it shows its usage" {
    run scripts/make_venv.sh
    [ "$status" -eq 2 ]
    [[ $output == *USAGE* ]]
}

@test "a python that is not there is named" {
    run scripts/make_venv.sh no-such-python "$target"
    [ "$status" -eq 1 ]
    [[ $output == *"no no-such-python"* ]]
    [ ! -e "$target" ]
}

@test "a python that is too old is named, with what to install" {
    fake_python 'case "$*" in *version_info*) exit 1;; *) echo "Python 3.9.2";; esac'
    run scripts/make_venv.sh "$BATS_TEST_TMPDIR/python" "$target"
    [ "$status" -eq 1 ]
    [[ $output == *"Python 3.9.2 is too old"* ]]
    [[ $output == *"apt-get install"* ]]
}

@test "a python without venv is named" {
    fake_python 'case "$*" in *ensurepip*) exit 1;; esac'
    run scripts/make_venv.sh "$BATS_TEST_TMPDIR/python" "$target"
    [ "$status" -eq 1 ]
    [[ $output == *"python3-venv is not installed"* ]]
}

@test "make alone lists the jobs" {
    run make
    [ "$status" -eq 0 ]
    [[ $output == *"make run"* && $output == *"make test"* && $output == *"make lint"* ]]
}
