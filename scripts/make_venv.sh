#!/usr/bin/env bash
# Make the virtual environment and put the pinned installer (uv) into it.
set -Eeuo pipefail
trap 'echo "make_venv.sh: failed at line ${LINENO}" >&2' ERR

usage() {
    cat <<'EOF'
USAGE
  make_venv.sh PYTHON DIRECTORY

Makes a virtual environment in DIRECTORY with PYTHON (3.11 or newer). With SYSTEM=1 in the
environment, what Debian keeps in packages of its own is installed first.

EXIT STATUS
  0 done, 1 something is missing (said on standard error), 2 wrong usage
EOF
}

say_missing() {
    printf 'marquee: %s\n' "$1" >&2
    printf 'marquee: on Debian: apt-get install -y python3 python3-venv libgomp1\n' >&2
    printf 'marquee: or let make do it: make <target> SYSTEM=1\n' >&2
    exit 1
}

main() {
    [[ $# -eq 2 ]] || { usage >&2; exit 2; }
    local python=$1 directory=$2
    if [[ ${SYSTEM:-} == 1 ]]; then
        "$(dirname "$0")/install_system.sh" python
    fi
    command -v "$python" >/dev/null || say_missing "no $python"
    "$python" -c 'import sys; sys.exit(sys.version_info < (3, 11))' ||
        say_missing "$("$python" --version) is too old; 3.11 or newer is needed"
    "$python" -c 'import ensurepip' 2>/dev/null || say_missing "python3-venv is not installed"
    "$python" -c 'import ctypes; ctypes.CDLL("libgomp.so.1")' 2>/dev/null ||
        say_missing "libgomp1 (OpenMP, for training) is not installed"
    echo "==> making $directory" >&2
    "$python" -m venv "$directory"
    "$directory/bin/pip" install --quiet --disable-pip-version-check --require-hashes \
        --requirement requirements/uv.txt
    touch "$directory/bin/uv"
}

main "$@"
