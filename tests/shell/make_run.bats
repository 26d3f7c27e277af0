# `make run` with a fake of marquee: where it listens.

setup() {
    cp "$BATS_TEST_DIRNAME/../../Makefile" "$BATS_TEST_TMPDIR"
    cd "$BATS_TEST_TMPDIR" || exit
    mkdir -p .venv/bin model
    printf '#!/bin/bash\necho "$1 ${MARQUEE_BIND-unset} $MARQUEE_MODEL_DIR"\n' >.venv/bin/marquee
    chmod +x .venv/bin/marquee
    unset MARQUEE_BIND MARQUEE_BIND_FILE MAKEFLAGS MAKELEVEL
}

run_make() { run make -o .venv/.run run; }

@test "make run: listens on the loopback interface unless another address is set" {
    run_make
    [ "$status" -eq 0 ]
    [[ $output == *"serve 127.0.0.1:8082 model" ]]
    MARQUEE_BIND=0.0.0.0:8082 run_make
    [[ $output == *"serve 0.0.0.0:8082 model" ]]
    MARQUEE_BIND_FILE=file run_make
    [[ $output == *"serve unset model" ]]
}

@test "make: installs into its own environment while another one is active" {
    VIRTUAL_ENV=/another run make --eval 'show: ; @echo "$$VIRTUAL_ENV"' show
    [ "$status" -eq 0 ]
    [ "$output" = "$PWD/.venv" ]
}
