# install_system.sh: what it refuses, what it says, and that it is quick when nothing is missing.

setup() {
    cd "$BATS_TEST_DIRNAME/../.." || exit
    script=$PWD/scripts/install_system.sh
    # Stand-in commands, found before the real ones; each test writes those it needs.
    commands=$BATS_TEST_TMPDIR/bin
    mkdir "$commands"
    PATH=$commands:$PATH
}

command_that() { # NAME BODY
    printf '#!/bin/bash\n%s\n' "$2" >"$commands/$1"
    chmod +x "$commands/$1"
}

@test "it explains itself when asked" {
    run "$script" --help
    [[ $status == 0 && $output == *USAGE*GROUPS*"EXIT STATUS"* ]]
}

@test "without a group, or with an unknown one, it changes nothing and exits with 2" {
    command_that apt-get 'echo called >>"$BATS_TEST_TMPDIR/apt"'
    run "$script"
    [[ $status == 2 ]]
    run "$script" shell kitchen
    [[ $status == 2 && ! -e $BATS_TEST_TMPDIR/apt ]]
}

@test "what is there is not installed again" {
    command_that dpkg-query 'echo installed'
    command_that apt-get 'echo called >>"$BATS_TEST_TMPDIR/apt"'
    run "$script" python shell images
    [[ $status == 0 && -z $output && ! -e $BATS_TEST_TMPDIR/apt ]]
}

@test "only what is missing is installed, after one refresh of the lists" {
    command_that dpkg-query '[[ ${!#} != jq && ${!#} != debootstrap ]] && echo installed'
    command_that apt-get 'echo "$*" >>"$BATS_TEST_TMPDIR/apt"'
    command_that sudo '"$@"'
    run "$script" python shell images
    [[ $status == 0 && $output == *"installing jq"*"installing debootstrap"* ]]
    [[ $(grep -c ' update$' "$BATS_TEST_TMPDIR/apt") == 1 ]]
    [[ $(grep -c ' install ' "$BATS_TEST_TMPDIR/apt") == 2 ]]
}

@test "what apt-get says is shown when it fails, and only then" {
    command_that dpkg-query 'exit 1'
    command_that apt-get 'echo "E: no such package"; exit 100'
    command_that sudo '"$@"'
    run "$script" images
    [[ $status == 1 && $output == *"E: no such package"* ]]
}

@test "an engine that answers is used as it is" {
    command_that docker 'exit 0'
    command_that apt-get 'echo called >>"$BATS_TEST_TMPDIR/apt"'
    run "$script" docker
    [[ $status == 0 && -z $output && ! -e $BATS_TEST_TMPDIR/apt ]]
}
