#!/usr/bin/env bash
# Run the tests of the shell scripts (tests/shell) with bats, where it is installed.
set -Eeuo pipefail

usage() {
    cat <<'EOF'
USAGE
  run_shell_tests.sh

OPTIONS
  -h, --help   show this help

EXIT STATUS
  0  all tests passed, or bats is not installed
  1  a test failed
  2  invalid arguments
EOF
}

main() {
    cd "$(dirname "${BASH_SOURCE[0]}")/.."
    # shellcheck source=scripts/lib.sh
    source scripts/lib.sh
    trap 'report_error "$LINENO"' ERR
    handle_help "$@"
    reject_arguments "$@"
    if command -v bats >/dev/null && command -v parallel >/dev/null; then
        bats --jobs $((4 * $(nproc))) tests/shell # a tenth faster than half as many
    elif command -v bats >/dev/null; then
        bats tests/shell
    else
        log "shell tests skipped: bats is not installed (make test SYSTEM=1 installs it)"
    fi
}

main "$@"
