#!/usr/bin/env bats
# make_venv.sh: missing requirements are named and no directory is left behind.

setup() {
    cd "$BATS_TEST_DIRNAME/../.."
    target="$BATS_TEST_TMPDIR/venv"
}

fake_python() { # BODY; a python of another version, or without a module
    printf '#!/bin/sh\n%s\n' "$1" >"$BATS_TEST_TMPDIR/python"
    chmod +x "$BATS_TEST_TMPDIR/python"
}

@test "prints its usage without arguments" {
    run scripts/make_venv.sh
    [ "$status" -eq 2 ]
    [[ $output == *USAGE* ]]
}

@test "names a python that is not installed" {
    run scripts/make_venv.sh no-such-python "$target"
    [ "$status" -eq 1 ]
    [[ $output == *"no-such-python is not installed"* ]]
    [ ! -e "$target" ]
}

@test "names a python that is too old, and the packages to install" {
    fake_python 'case "$*" in *version_info*) exit 1;; *) echo "Python 3.9.2";; esac'
    run scripts/make_venv.sh "$BATS_TEST_TMPDIR/python" "$target"
    [ "$status" -eq 1 ]
    [[ $output == *"Python 3.9.2 is too old"* ]]
    [[ $output == *"apt-get install"* ]]
}

@test "names a missing venv module" {
    fake_python 'case "$*" in *ensurepip*) exit 1;; esac'
    run scripts/make_venv.sh "$BATS_TEST_TMPDIR/python" "$target"
    [ "$status" -eq 1 ]
    [[ $output == *"python3-venv is not installed"* ]]
}

@test "make without a target lists the targets" {
    run make
    [ "$status" -eq 0 ]
    [[ $output == *"make run"* && $output == *"make test"* && $output == *"make lint"* ]]
}
