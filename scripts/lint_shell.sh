#!/usr/bin/env bash
# Check all shell scripts (bash -n, shellcheck) and the application's Dockerfiles (hadolint).
set -Eeuo pipefail

usage() {
    cat <<'EOF'
USAGE
  lint_shell.sh

Checks the syntax of all shell scripts, then runs shellcheck and hadolint where they are installed.

OPTIONS
  -h, --help   show this help

EXIT STATUS
  0  no findings
  1  findings (on standard output or standard error)
  2  invalid arguments
EOF
}

main() {
    local script
    local -a scripts
    cd "$(dirname "${BASH_SOURCE[0]}")/.."
    # shellcheck source=scripts/lib.sh
    source scripts/lib.sh
    trap 'report_error "$LINENO"' ERR
    handle_help "$@"
    reject_arguments "$@"
    mapfile -t scripts < <(git ls-files -co --exclude-standard -- '*.sh' '.ci/run' '*.bash')
    for script in "${scripts[@]}"; do
        bash -n "$script"
    done
    if command -v shellcheck >/dev/null; then
        shellcheck --external-sources "${scripts[@]}"
    else
        log "shellcheck skipped: not installed (make test SYSTEM=1 installs it)"
    fi
    if command -v hadolint >/dev/null; then
        hadolint app/Dockerfile kubernetes/Dockerfile
    else
        log "hadolint skipped: not installed (make environment installs it)"
    fi
}

main "$@"
