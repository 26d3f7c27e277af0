# run_tests.sh: runs every part and prints how it ended. `make` and `docker` are fakes.

bats_require_minimum_version 1.5.0

setup() {
    root=$(cd "$BATS_TEST_DIRNAME/../.." && pwd)
    mkdir "$BATS_TEST_TMPDIR/bin"
    cat >"$BATS_TEST_TMPDIR/bin/make" <<'EOF'
#!/bin/bash
echo "make $1"
[[ $1 != "${FAILING:-}" ]]
EOF
    printf '#!/bin/bash\nexit "${ENGINE_STATUS:-0}"\n' >"$BATS_TEST_TMPDIR/bin/docker"
    chmod +x "$BATS_TEST_TMPDIR"/bin/*
    PATH=$BATS_TEST_TMPDIR/bin:$PATH
}

@test "runs all parts in order and prints the time of each" {
    run "$root/scripts/run_tests.sh"
    [[ $status == 0 ]]
    [[ $output == *"make setup"*"make lint"*"make test-shell"*"make test-chart"*"make images"*"make test-python"*"make test-containers"* ]]
    [[ $output == *"setup "*" s  passed"*"test-containers "*" s  passed"*"total "* ]]
}

@test "a failed part is reported at the end, and the other parts run" {
    FAILING=lint run "$root/scripts/run_tests.sh"
    [[ $status == 1 ]]
    [[ $output == *"lint "*" s  FAILED"*"test-shell "*" s  passed"*"total "* ]]
    [[ $output == *"make test-containers"* ]]
}

@test "images that cannot be built are reported, and the other parts run" {
    FAILING=images run "$root/scripts/run_tests.sh"
    [[ $status == 1 ]]
    [[ $output == *"images "*" s  FAILED"*"test-python "*" s  passed"*"total "* ]]
}

@test "the build of images ends with the tests" {
    printf '#!/bin/bash\n[[ $1 != images ]] || exec sleep 60.75\n[[ $1 != lint ]] || { kill "$PPID"; sleep 1; }\n' \
        >"$BATS_TEST_TMPDIR/bin/make"
    run "$root/scripts/run_tests.sh"
    [[ $status == 143 ]]
    ! pgrep -f "sleep 60.75"
}

@test "builds no images without a Docker engine" {
    ENGINE_STATUS=1 run "$root/scripts/run_tests.sh"
    [[ $status == 0 && $output != *"make images"* && $output == *"make test-containers"* ]]
}

@test "prints help, and exits with 2 on invalid arguments" {
    run "$root/scripts/run_tests.sh" --help
    [[ $status == 0 && $output == *USAGE* ]]
    run "$root/scripts/run_tests.sh" fast
    [[ $status == 2 ]]
}
