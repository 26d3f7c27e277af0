#!/usr/bin/env bash
# Run the shell suite where bats is installed; say so where it is not.
set -Eeuo pipefail
trap 'echo "run_shell_tests.sh: failed at line ${LINENO}" >&2' ERR

main() {
    cd "$(dirname "$0")/.."
    if command -v bats >/dev/null; then
        bats tests/shell
    else
        echo "skipped: the shell suite; bats is not installed (make test SYSTEM=1 installs it)" >&2
    fi
}

main "$@"
