# tests/images/build.sh: which image tags it builds and which it keeps. Docker is a fake.

setup() {
    cd "$BATS_TEST_DIRNAME/../.." || exit
    script=$PWD/tests/images/build.sh
    commands=$BATS_TEST_TMPDIR/bin
    mkdir "$commands"
    PATH=$commands:$PATH
    export MACHINE=$BATS_TEST_TMPDIR # package sources for a worker (--one)
    # `docker image inspect` prints a size, and labels set by the test.
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

@test "never replaces a tag of a real image" {
    IMAGE_EXISTS=yes run "$script" nginx
    [[ $status == 0 && $output == *"nginx:1.30"*"a real image, kept"* ]]
    ! built
}

@test "rebuilds an image whose inputs changed, and labels it with their hash" {
    IMAGE_EXISTS=yes STANDIN=true INPUTS=old run "$script" --one nginx
    [[ $status == 0 && $output == *"built in"* ]]
    grep -q -- '--label org.marquee.standin=true --label org.marquee.standin.inputs=' "$BATS_TEST_TMPDIR/built"
    grep -q -- '--build-arg VERSION=1.30 ' "$BATS_TEST_TMPDIR/built"
}

@test "keeps an image with the same inputs" {
    IMAGE_EXISTS=yes STANDIN=true INPUTS=old run "$script" --one nginx
    inputs=$(sed -n 's/.*inputs=\([0-9a-f]*\) .*/\1/p' "$BATS_TEST_TMPDIR/built")
    rm "$BATS_TEST_TMPDIR/built"
    IMAGE_EXISTS=yes STANDIN=true INPUTS=$inputs run "$script" --one nginx
    [[ $status == 0 && $output == *"up to date"* ]]
    ! built
}

@test "prints the log of a failed build and exits with 1" {
    BUILD_FAILS=1 run "$script" --one nginx
    [[ $status == 1 && $output == *"nginx:1.30 failed"* ]]
}
