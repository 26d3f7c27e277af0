#!/usr/bin/env bash
# Run all parts of the test suite, and print the result and duration of each.
set -Eeuo pipefail

usage() {
    cat <<'EOF'
USAGE
  run_tests.sh

Runs these targets of the Makefile, each even if an earlier one failed:
  setup, lint, test-shell, test-chart, images (if a Docker engine responds), test-python, test-containers

The images are built while lint, test-shell and test-chart run; what is printed about them follows afterwards.

OPTIONS
  -h, --help   show this help

EXIT STATUS
  0  all parts passed
  1  a part failed
  2  invalid arguments
EOF
}

run_part() { # TARGET
    local start=$SECONDS result=passed
    make "$1" || result=FAILED
    add_result "$1" $((SECONDS - start)) "$result"
}

add_result() { # TARGET SECONDS RESULT
    summary+=$(printf '%-16s %6d s  %s' "$@")$'\n'
}

# Beside the parts that need no image.
start_images() {
    directory=$(mktemp -d)
    {
        local start=$SECONDS result=passed
        make images &>"$directory/output" </dev/null || result=FAILED
        echo "$((SECONDS - start)) $result" >"$directory/result"
    } &
    images_pid=$!
    trap stop_images EXIT
}

wait_for_images() {
    wait "$images_pid" || true # the result is in the file
    images_pid=""
    cat "$directory/output"
    local seconds result
    read -r seconds result <"$directory/result"
    add_result images "$seconds" "$result"
}

stop_images() {
    # The build is a child of the subshell.
    [[ -z $images_pid ]] || pkill -TERM -P "$images_pid" || true
    rm -rf "$directory"
}

print_summary() {
    printf '\n%s%-16s %6d s\n' "$summary" total "$SECONDS"
    [[ $summary != *FAILED* ]]
}

main() {
    cd "$(dirname "${BASH_SOURCE[0]}")/.."
    # shellcheck source=scripts/lib.sh
    source scripts/lib.sh
    trap 'report_error "$LINENO"' ERR
    handle_help "$@"
    reject_arguments "$@"
    summary="" images_pid="" directory=""
    run_part setup
    if docker info >/dev/null 2>&1; then start_images; fi
    run_part lint
    run_part test-shell
    run_part test-chart
    # Before the integration tests, which use Kafka and MariaDB.
    if [[ -n $images_pid ]]; then wait_for_images; fi
    run_part test-python
    run_part test-containers
    print_summary || exit 1
}

main "$@"
