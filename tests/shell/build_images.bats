# tests/images/build.sh: which tags it builds and which it leaves alone. Docker is a stand-in.

setup() {
    cd "$BATS_TEST_DIRNAME/../.." || exit
    script=$PWD/tests/images/build.sh
    commands=$BATS_TEST_TMPDIR/bin
    mkdir "$commands"
    PATH=$commands:$PATH
    export MACHINE=$BATS_TEST_TMPDIR # where a worker (--one) finds the machine's settings
    # What an inspected image is: a size, and labels as the test sets them.
    cat >"$commands/docker" <<'EOF'
#!/bin/bash
[[ "$*" != *buildx* ]] || { echo "$*" >>"$BATS_TEST_TMPDIR/built"; exit "${BUILD_FAILS:-0}"; }
[[ -n ${IMAGE_THERE:-} || -e $BATS_TEST_TMPDIR/built ]] || exit 1
case "$*" in
    *.Size*) echo 1000000 ;;
    *standin.inputs*) echo "${INPUTS:-}" ;;
    *org.marquee.standin*) echo "${STANDIN:-}" ;;
esac
EOF
    chmod +x "$commands/docker"
    printf '#!/bin/sh\necho Debian trixie http://mirror.test/debian\n' >"$commands/apt-get"
    chmod +x "$commands/apt-get"
}

built() { [[ -e $BATS_TEST_TMPDIR/built ]]; }

@test "it explains itself when asked, and refuses a name it does not know" {
    run "$script" --help
    [[ $status == 0 && $output == *USAGE*"EXIT STATUS"* ]]
    run "$script" apache
    [[ $status == 2 ]]
}

@test "a tag that holds a real image is never replaced" {
    IMAGE_THERE=yes run "$script" nginx
    [[ $status == 0 && $output == *"nginx:1.30"*"a real image, kept"* ]]
    ! built
}

@test "a stand-in of other inputs is built anew, labelled with them" {
    IMAGE_THERE=yes STANDIN=true INPUTS=old run "$script" --one nginx
    [[ $status == 0 && $output == *"built in"* ]]
    grep -q -- '--label org.marquee.standin=true --label org.marquee.standin.inputs=' "$BATS_TEST_TMPDIR/built"
    grep -q -- '--build-arg VERSION=1.30 ' "$BATS_TEST_TMPDIR/built"
}

@test "a stand-in of the same inputs is left as it is" {
    IMAGE_THERE=yes STANDIN=true INPUTS=old run "$script" --one nginx
    inputs=$(sed -n 's/.*inputs=\([0-9a-f]*\) .*/\1/p' "$BATS_TEST_TMPDIR/built")
    rm "$BATS_TEST_TMPDIR/built"
    IMAGE_THERE=yes STANDIN=true INPUTS=$inputs run "$script" --one nginx
    [[ $status == 0 && $output == *"up to date"* ]]
    ! built
}

@test "a build that fails shows its log and fails the whole" {
    BUILD_FAILS=1 run "$script" --one nginx
    [[ $status == 1 && $output == *"nginx:1.30 failed"* ]]
}
