# install_system.sh: which packages it installs, and its errors. apt-get and docker are fakes.

setup() {
    cd "$BATS_TEST_DIRNAME/../.." || exit
    script=$PWD/scripts/install_system.sh
    # Fake commands, found before the real ones; each test writes those it needs.
    commands=$BATS_TEST_TMPDIR/bin
    mkdir "$commands"
    PATH=$commands:$PATH
}

fake_command() { # NAME BODY
    printf '#!/bin/bash\n%s\n' "$2" >"$commands/$1"
    chmod +x "$commands/$1"
}

@test "prints help" {
    run "$script" --help
    [[ $status == 0 && $output == *USAGE*GROUPS*"EXIT STATUS"* ]]
}

@test "exits with 2 without a group or with an unknown one, and installs nothing" {
    fake_command apt-get 'echo called >>"$BATS_TEST_TMPDIR/apt"'
    run "$script"
    [[ $status == 2 ]]
    run "$script" shell kitchen
    [[ $status == 2 && ! -e $BATS_TEST_TMPDIR/apt ]]
}

@test "installs nothing that is installed" {
    fake_command dpkg-query 'echo installed'
    fake_command apt-get 'echo called >>"$BATS_TEST_TMPDIR/apt"'
    run "$script" python shell images
    [[ $status == 0 && -z $output && ! -e $BATS_TEST_TMPDIR/apt ]]
}

@test "installs missing packages after one update of the package lists" {
    fake_command dpkg-query '[[ ${!#} != jq && ${!#} != debootstrap ]] && echo installed'
    fake_command apt-get 'echo "$*" >>"$BATS_TEST_TMPDIR/apt"'
    fake_command sudo '"$@"'
    run "$script" python shell images
    [[ $status == 0 && $output == *"installing jq"*"installing debootstrap"* ]]
    [[ $(grep -c ' update$' "$BATS_TEST_TMPDIR/apt") == 1 ]]
    [[ $(grep -c ' install ' "$BATS_TEST_TMPDIR/apt") == 2 ]]
}

@test "prints the output of apt-get if it fails" {
    fake_command dpkg-query 'exit 1'
    fake_command apt-get 'echo "E: no such package"; exit 100'
    fake_command sudo '"$@"'
    run "$script" images
    [[ $status == 1 && $output == *"E: no such package"* ]]
}

@test "keeps a Docker engine that responds" {
    fake_command docker 'exit 0'
    fake_command apt-get 'echo called >>"$BATS_TEST_TMPDIR/apt"'
    run "$script" docker
    [[ $status == 0 && -z $output && ! -e $BATS_TEST_TMPDIR/apt ]]
}
