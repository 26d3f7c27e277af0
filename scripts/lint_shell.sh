#!/usr/bin/env bash
# Check every shell script: syntax always, shellcheck where it is installed.
set -Eeuo pipefail
trap 'echo "lint_shell.sh: failed at line ${LINENO}" >&2' ERR

main() {
    cd "$(dirname "$0")/.."
    local -a scripts
    mapfile -t scripts < <(git ls-files -co --exclude-standard -- '*.sh' '.ci/run' '*.bash')
    local script
    for script in "${scripts[@]}"; do
        bash -n "$script"
    done
    if command -v shellcheck >/dev/null; then
        shellcheck --external-sources "${scripts[@]}"
    else
        echo "skipped: shellcheck is not installed (make test SYSTEM=1 installs it)" >&2
    fi
}

main "$@"
