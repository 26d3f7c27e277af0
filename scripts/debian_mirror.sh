#!/usr/bin/env bash
# Print the Debian mirror this machine's apt uses, so that no file of ours has to name one.
set -Eeuo pipefail
trap 'echo "debian_mirror.sh: failed at line ${LINENO}" >&2' ERR

main() {
    local mirror
    # shellcheck disable=SC2016 # apt's own placeholders
    mirror=$(apt-get indextargets --format '$(ORIGIN) $(RELEASE) $(REPO_URI)' |
        awk '$1 == "Debian" && $2 ~ /^[a-z]+$/ { uri = uri ? uri : $3 } END { print uri }')
    if [[ -z $mirror ]]; then
        echo "debian_mirror.sh: apt knows no Debian mirror here; try apt-get update first" >&2
        exit 1
    fi
    printf '%s\n' "${mirror%/}"
}

main "$@"
