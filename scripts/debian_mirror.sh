#!/usr/bin/env bash
# Print the Debian mirror that this machine's apt uses.
set -Eeuo pipefail

usage() {
    cat <<'EOF'
USAGE
  debian_mirror.sh

Prints the URL of the Debian mirror in apt's sources, so that no file of the project names one.

OPTIONS
  -h, --help   show this help

EXIT STATUS
  0  printed
  1  apt has no Debian mirror
  2  invalid arguments
EOF
}

main() {
    local mirror
    # shellcheck source=scripts/lib.sh
    source "$(dirname "${BASH_SOURCE[0]}")/lib.sh"
    trap 'report_error "$LINENO"' ERR
    handle_help "$@"
    reject_arguments "$@"
    # shellcheck disable=SC2016 # placeholders of apt
    mirror=$(apt-get indextargets --format '$(ORIGIN) $(RELEASE) $(REPO_URI)' |
        awk '$1 == "Debian" && $2 ~ /^[a-z]+$/ { uri = uri ? uri : $3 } END { print uri }')
    [[ -n $mirror ]] || fail "apt has no Debian mirror; run apt-get update first"
    printf '%s\n' "${mirror%/}"
}

main "$@"
