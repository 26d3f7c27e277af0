#!/usr/bin/env bash
# Run all parts of the test suite, and print the result and duration of each.
set -Eeuo pipefail

usage() {
    cat <<'EOF'
USAGE
  run_tests.sh

Runs these targets of the Makefile, each even if an earlier one failed:
  setup, lint, test-shell, test-chart, images (if a Docker engine responds), test-python, test-containers

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
    summary+=$(printf '%-16s %6d s  %s' "$1" $((SECONDS - start)) "$result")$'\n'
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
    local summary=""
    run_part setup
    run_part lint
    run_part test-shell
    run_part test-chart
    # Before the integration tests, which use Kafka and MariaDB.
    if docker info >/dev/null 2>&1; then run_part images; fi
    run_part test-python
    run_part test-containers
    print_summary || exit 1
}

main "$@"
