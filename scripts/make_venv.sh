#!/usr/bin/env bash
# Create the virtual environment and install the pinned package installer (uv) into it.
set -Eeuo pipefail

usage() {
    cat <<'EOF'
USAGE
  make_venv.sh PYTHON DIRECTORY

Creates a virtual environment in DIRECTORY with PYTHON (3.11 or newer).

OPTIONS
  -h, --help   show this help

ENVIRONMENT
  SYSTEM       1: first install the required Debian packages

EXAMPLES
  scripts/make_venv.sh python3 .venv

EXIT STATUS
  0  done
  1  a requirement is missing (reason on standard error)
  2  invalid arguments
EOF
}

fail_requirement() { # REASON
    log "on Debian: apt-get install -y python3 python3-venv libgomp1"
    log "or let make install them: make <target> SYSTEM=1"
    fail "$1"
}

main() {
    # shellcheck source=scripts/lib.sh
    source "$(dirname "${BASH_SOURCE[0]}")/lib.sh"
    trap 'report_error "$LINENO"' ERR
    handle_help "$@"
    (($# == 2)) || { usage >&2; exit 2; }
    local python=$1 directory=$2
    if [[ ${SYSTEM:-} == 1 ]]; then
        "$(dirname "${BASH_SOURCE[0]}")/install_system.sh" python
    fi
    command -v "$python" >/dev/null || fail_requirement "$python is not installed"
    "$python" -c 'import sys; sys.exit(sys.version_info < (3, 11))' ||
        fail_requirement "$("$python" --version) is too old; 3.11 or newer is required"
    "$python" -c 'import ensurepip' 2>/dev/null || fail_requirement "python3-venv is not installed"
    "$python" -c 'import ctypes; ctypes.CDLL("libgomp.so.1")' 2>/dev/null ||
        fail_requirement "libgomp1 (OpenMP, for training) is not installed"
    log "creating $directory"
    "$python" -m venv "$directory"
    "$directory/bin/pip" install --quiet --disable-pip-version-check --require-hashes \
        --requirement requirements/uv.txt
    touch "$directory/bin/uv"
}

main "$@"
