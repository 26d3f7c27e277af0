#!/usr/bin/env bash
# Check the pinned Python packages for known vulnerabilities, and write what each image is made of (SBOM).
set -Eeuo pipefail

readonly OUT=build/audit

usage() {
    cat <<'EOF'
USAGE
  audit.sh [SET...]

For requirements/SET.txt, by default all sets that images contain (service, provenance, deployment):

- writes build/audit/SET.cdx.json, a bill of materials in the format CycloneDX. It lists the Python packages;
  Debian's of an image are listed by `dpkg-query --show` in it.
- runs pip-audit, which reads the known vulnerabilities of each package from PyPI and installs nothing. A package
  that is not in its data, as behind a mirror, is an error.

OPTIONS
  -h, --help   show this help

ENVIRONMENT
  AUDIT_IGNORE  ids of vulnerabilities that were judged and accepted, separated by spaces; each needs a reason
                beside it where it is set

EXAMPLES
  make audit
  AUDIT_IGNORE="PYSEC-2026-1" scripts/audit.sh service

EXIT STATUS
  0  no known vulnerability
  1  a known vulnerability, or a package that cannot be audited (on standard output or standard error)
  2  invalid arguments
EOF
}

main() {
    local set id failed=0
    local -a options=() sets=("$@")
    cd "$(dirname "${BASH_SOURCE[0]}")/.."
    # shellcheck source=scripts/lib.sh
    source scripts/lib.sh
    trap 'report_error "$LINENO"' ERR
    handle_help "$@"
    ((${#sets[@]})) || sets=(service provenance deployment)
    for set in "${sets[@]}"; do
        [[ $set =~ ^[a-z]+$ && -e requirements/$set.txt ]] || usage_error "no requirements/$set.txt"
    done
    for id in ${AUDIT_IGNORE-}; do options+=(--ignore-vuln "$id"); done
    mkdir -p "$OUT"
    for set in "${sets[@]}"; do
        cyclonedx-py requirements "requirements/$set.txt" --output-reproducible --output-format JSON \
            --output-file "$OUT/$set.cdx.json" 2>/dev/null || fail "no bill of materials was written for $set"
        log "auditing requirements/$set.txt"
        pip-audit --requirement "requirements/$set.txt" --require-hashes --disable-pip --strict \
            --progress-spinner off "${options[@]}" || failed=1
    done
    ((failed == 0)) || fail "there are known vulnerabilities, or packages that cannot be audited"
}

main "$@"
