# tests/images/build.sh: which images it builds and which it keeps. Docker is a fake.

setup() {
    cd "$BATS_TEST_DIRNAME/../.." || exit
    script=$PWD/tests/images/build.sh
    commands=$BATS_TEST_TMPDIR/bin
    mkdir "$commands"
    PATH=$commands:$PATH
    export SECRETS=$BATS_TEST_TMPDIR # build secrets of a run with --one
    # An image has a size, and the labels that the test sets.
    cat >"$commands/docker" <<'EOF'
#!/bin/bash
[[ "$*" != *buildx* ]] || { echo "$*" >>"$BATS_TEST_TMPDIR/built"; exit "${BUILD_FAILS:-0}"; }
[[ -n ${IMAGE_EXISTS:-} || -e $BATS_TEST_TMPDIR/built ]] || exit 1
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

@test "prints help, and exits with 2 on an unknown name" {
    run "$script" --help
    [[ $status == 0 && $output == *USAGE*"EXIT STATUS"* ]]
    run "$script" apache
    [[ $status == 2 ]]
}

@test "an original image is never replaced" {
    IMAGE_EXISTS=yes run "$script" nginx
    [[ $status == 0 && $output == *"nginx:1.30.6"*"original image, kept"* ]]
    ! built
}

@test "an image with other inputs is rebuilt and labelled with them" {
    IMAGE_EXISTS=yes STANDIN=true INPUTS=old run "$script" --one nginx
    [[ $status == 0 && $output == *"built in"* ]]
    grep -q -- '--label org.marquee.standin=true --label org.marquee.standin.inputs=' "$BATS_TEST_TMPDIR/built"
    grep -q -- '--build-arg VERSION=1.30.6 ' "$BATS_TEST_TMPDIR/built"
}

@test "an image with the same inputs is not rebuilt" {
    IMAGE_EXISTS=yes STANDIN=true INPUTS=old run "$script" --one nginx
    inputs=$(sed -n 's/.*inputs=\([0-9a-f]*\) .*/\1/p' "$BATS_TEST_TMPDIR/built")
    rm "$BATS_TEST_TMPDIR/built"
    IMAGE_EXISTS=yes STANDIN=true INPUTS=$inputs run "$script" --one nginx
    [[ $status == 0 && $output == *"up to date"* ]]
    ! built
}

@test "a failed build gives exit status 1" {
    BUILD_FAILS=1 run "$script" --one nginx
    [[ $status == 1 && $output == *"nginx:1.30.6 failed"* ]]
}
